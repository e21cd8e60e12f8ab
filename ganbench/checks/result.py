"""What a check says, and how one is run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np
import torch

T = TypeVar("T")


class Result(NamedTuple):
    """The outcome of one check."""

    check: str
    "what was checked, in words"
    fault: str = ""
    "what is wrong and where, on one line; empty if the check passed"


class Fault(Exception):
    """What a check found wrong, on one line."""


def run_stages(stages: Iterable[Sequence[Callable[[T], None]]], subject: T) -> Iterator[Result]:
    """Yield the results of all checks of each stage in turn; the first stage with a fault is the last."""
    for stage in stages:
        results = [run_check(check, subject) for check in stage]
        yield from results
        if any(result.fault for result in results):
            return


def run_check(check: Callable[[T], None], subject: T) -> Result:
    """Return what a check says of its subject; the global random state is left as it was."""
    with _random_state_kept():
        return Result(check.__name__.replace("_", " "), fault_of(lambda: check(subject)))


def fault_of(call: Callable[[], object]) -> str:
    """Return why a call fails, on one line, "" if it does not."""
    try:
        call()
    except Fault as fault:
        return " ".join(str(fault).split())
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return ""


def random_state() -> tuple[bytes, ...]:
    """Return the states of the global random generators of torch, numpy and Python."""
    drawn = np.random.get_state(legacy=True)
    numbers = np.asarray(drawn[1]).tobytes() + bytes(str(drawn[2:]), "ascii")
    return torch.get_rng_state().numpy().tobytes(), numbers, bytes(str(random.getstate()), "ascii")


@contextmanager
def _random_state_kept() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
