"""State that a game keeps where no seed, checkpoint or weights file would look for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from ganbench.game.contract import Game

Marks = dict[str, object]


def marks(game: Game) -> Marks:
    """Return where state could hide -> a mark of its present value.

    Looked at are the attributes of the game and of its submodules that are no parameters, buffers or submodules,
    those of their classes, and the variables of the file that defines the game.
    """
    return dict(_places(game))


def _places(game: Game) -> Iterator[tuple[str, object]]:
    for path, module in game.named_modules():
        for name, value in vars(module).items():
            if name not in ("_parameters", "_buffers", "_modules", "training"):
                yield f"self.{path}.{name}" if path else f"self.{name}", _mark(value)
    classes = {kind for module in game.modules() for kind in type(module).__mro__}
    for kind in classes - set(nn.Module.__mro__) - set(Game.__mro__):
        for name, value in list(vars(kind).items()):
            if not name.startswith("__"):
                yield f"{kind.__name__}.{name}, which all seeds share", _mark(value)
    for name, value in list(vars(sys.modules[type(game).__module__]).items()):
        if not name.startswith("__") and not isinstance(value, ModuleType | type):
            yield f"the global variable {name}, which all seeds share", _mark(value)


def _mark(value: Any) -> object:
    """Return something that changes with the value."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.detach().cpu().numpy().tobytes()
    if isinstance(value, dict):
        return tuple((key, _mark(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return tuple(_mark(part) for part in value)
    if isinstance(value, int | float | str | set | frozenset):
        return repr(value)
    if isinstance(value, FunctionType) and vars(value):
        return id(value), _mark(vars(value))
    return id(value)
