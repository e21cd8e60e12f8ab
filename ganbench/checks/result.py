"""What a check says, and how one is run."""

from __future__ import annotations

import pickle
import random
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from ganbench.metrics.numerics.threads import one_thread

T = TypeVar("T")
HERE = Path(__file__).parents[1]  # the package: errors that arise in it are put down to who called it
LONGEST = 200  # characters of an error that are shown


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
    """Return what a check says of its subject, on one core; the global random state is left as it was."""
    with _random_state_kept(), one_thread():  # threads of small networks mostly wait for each other
        return Result(check.__name__.replace("_", " "), fault_of(lambda: check(subject)))


def fault_of(call: Callable[[], object]) -> str:
    """Return why a call fails, on one line, "" if it does not."""
    try:
        call()
    except Fault as fault:
        return " ".join(str(fault).split()) + (_place(fault.__cause__) if fault.__cause__ else "")
    except (Exception, SystemExit) as error:
        return f"{' '.join(f'{type(error).__name__}: {error}'.split())[:LONGEST]}{_place(error)}"
    return ""


def _place(error: BaseException) -> str:
    """Return where in somebody's file an error arose, "" if it arose in none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    return f" (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else ""


def _is_library(file: str) -> bool:
    return "site-packages" in file or file.startswith("<") or Path(file).is_relative_to(HERE)


def random_state() -> tuple[bytes, ...]:
    """Return the states of the global random generators of torch, numpy and Python."""
    return torch.get_rng_state().numpy().tobytes(), *(
        pickle.dumps(get()) for get in (np.random.get_state, random.getstate)
    )


def change_random_state() -> None:
    """Put the global random generators into another state, which no answer may depend on."""
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
