"""The steps of drawing a graph's variables, taken several at a time where one network draws them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """One variable is drawn, by the network `net`, given the values of others; "" is one that it lacks."""

    name: str
    givens: tuple[str, ...]
    net: str


def batched_steps(steps: Sequence[Step], known: Iterable[str]) -> tuple[tuple[Step, ...], ...]:
    """Return the steps in groups that one call of a network can take at once, each after what it is given.

    Args:
        steps: in an order in which they can be taken one by one; a variable may be drawn twice.
        known: variables whose values are there before.
    """
    pending, done, groups = list(steps), set(known), []
    while pending:
        written: set[str] = set()  # by earlier steps that are still pending
        read: set[str] = set()
        ready = []
        for step in pending:
            if (
                set(step.givens) - {""} <= done
                and not written & {step.name, *step.givens}
                and step.name not in read
            ):
                ready.append(step)
            written.add(step.name)
            read |= set(step.givens)
        nets = list(dict.fromkeys(step.net for step in ready))
        whole = [net for net in nets if all(step in ready for step in pending if step.net == net)]
        chosen = (whole or nets)[0]
        group = [step for step in ready if step.net == chosen]
        group = [step for step in group if [*map(bool, step.givens)] == [*map(bool, group[0].givens)]]
        groups.append(tuple(group))
        done |= {step.name for step in group}
        pending = [step for step in pending if step not in group]
    return tuple(groups)


def run_steps(
    net: Any, steps: Sequence[Step], values: Mapping[str, Tensor], draws: Sequence[Tensor | None]
) -> Any:
    """Return what a network makes of all steps of these steps, one after another along the first axis."""
    slots = zip(*[step.givens for step in steps], strict=True)
    inputs = [torch.cat([values[given] for given in slot]) if slot[0] else None for slot in slots]
    drawn = [draw for draw in draws if draw is not None]
    return net(*inputs, draw=torch.cat(drawn)) if drawn else net(*inputs)


def split_steps(steps: Sequence[Step], out: Tensor) -> dict[str, Tensor]:
    """Return what a network made of these steps, by variable."""
    return {step.name: part for step, part in zip(steps, out.chunk(len(steps)), strict=True)}
