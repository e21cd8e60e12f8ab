"""Which models stand for all in a test: one for each class of game and path through its code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from ganbench import registry

DENSE: dict[str, Any] = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
CONV: dict[str, Any] = {"kind": "conv", "width": 4}
NAMES: list[str] = registry.models.names()
TRAINED = [name for name in NAMES if registry.models.get(name).game.players]
FITTED = [name for name in NAMES if name not in TRAINED]


def takes_conv(name: str) -> bool:
    """Tell whether a model plays with the convolutions of a suite; others pin dense networks."""
    return registry.models.get(name).settings(CONV)["backbone"]["kind"] == "conv"


def choices(name: str) -> set[tuple[Any, ...]]:
    """Return the choices that a model makes among the paths of its class, and among those of the trainer.

    These are its words and switches, and which numbers are 0, for a rate or a width takes no other path. Networks
    are left out: blocks and backbones have tests of their own.
    """
    model = registry.models.get(name)
    settings = model.settings(DENSE)
    del settings["backbone"]
    players = [settings.pop(player.name) for player in model.game.players]
    of_class = {(model.game, *choice) for choice in [*_choices(settings), ()]}
    return of_class.union(*map(_choices, players))


def _choices(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _choices(value, (*path, key))
        else:
            yield *path, key, value if isinstance(value, str | bool) else bool(value)


def representatives(names: Iterable[str]) -> list[str]:
    """Return models that together make every choice of every class."""
    made: set[tuple[Any, ...]] = set()
    chosen = []
    for name in names:
        if new := choices(name) - made:
            made |= new
            chosen.append(name)
    return chosen


def first_of_each_class(names: Iterable[str]) -> list[str]:
    """Return the first model of each class."""
    first: dict[Any, str] = {}
    for name in names:
        first.setdefault(registry.models.get(name).game, name)
    return list(first.values())


def cases(
    names: Iterable[str], conv: bool = False, chosen: Callable[[list[str]], list[str]] = representatives
) -> list[Any]:
    """Return (model, backbone) parameters of a test: some by day, the others with the mark `nightly`.

    By day these are the chosen ones on dense networks and, if asked for, one of each class on convolutions.
    """
    names = list(names)
    convolved = [name for name in names if takes_conv(name)] if conv else []
    day = {(name, "mlp") for name in chosen(names)}
    day |= {(name, "conv") for name in first_of_each_class(convolved)}
    out = []
    for name, backbone in [(name, DENSE) for name in names] + [(name, CONV) for name in convolved]:
        marks = [] if (name, backbone["kind"]) in day else [pytest.mark.nightly]
        out.append(pytest.param(name, backbone, id=f"{name}-{backbone['kind']}", marks=marks))
    return out
