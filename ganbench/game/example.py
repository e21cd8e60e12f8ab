"""A game without numbers, to see what it is made of and what it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ganbench.errors import UserError
from ganbench.game.contract import DataSpec

if TYPE_CHECKING:
    from ganbench.game.contract import Game
    from ganbench.game.model import Model

SHAPES = {"images": (1, 32, 32), "vectors": (2,), "sequences": (4, 1, 64, 64)}
BACKBONE = {"kind": "mlp", "generator": [8], "critic": [8]}


def example(model: Model) -> Game:
    """Return a model's game with its default settings, on the first data of SHAPES that it takes.

    Raises:
        UserError: it takes none of them; each with its reason.
    """
    reasons = []
    for name, shape in SHAPES.items():
        try:
            with torch.device("meta"):  # shapes without numbers
                return model.build(DataSpec(name, shape, 10, torch.zeros(shape)), model.settings(BACKBONE), 0)
        except Exception as error:  # of a game that is anybody's
            reasons.append(f"{error}" if isinstance(error, UserError) else f"{type(error).__name__}: {error}")
    raise UserError(f"{model.name} cannot be built: {'; '.join(dict.fromkeys(reasons))}")
