"""What a game takes from the whole training set: before its first round, and after its last."""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.datasets import Dataset
from ganbench.game.contract import Game
from ganbench.records import seed_stream
from ganbench.runs.folder import build, load
from ganbench.suites.spec import RunSpec
from ganbench.training.batches import scale
from ganbench.training.stack import labels_for


def fitted(spec: RunSpec, data: Dataset) -> Game:
    """Return the game of a run before its first round, with what it takes from the training set."""
    game = build(spec, data)
    if type(game).fit is not Game.fit:
        seed = seed_stream(data.name, spec.model, spec.seed, "fit")
        game.fit(*_shown(game, data), seed)
    return game


def finished(spec: RunSpec, data: Dataset, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a run after its last round, with what its game takes from the training set then."""
    game = build(spec, data)
    if type(game).finalize is Game.finalize:
        return weights
    load(game, weights)
    game.to(data.images["train"].device).eval()
    seed = seed_stream(data.name, spec.model, spec.seed, "finish")
    game.finalize(*_shown(game, data), seed)
    return state(game)


def _shown(game: Game, data: Dataset) -> tuple[Tensor, Tensor | None]:
    """Return the training set as the game sees it, and its labels if the game may see them."""
    images, labels = scale(data.shown("train"), torch.float32), labels_for(game, data)
    return images, None if labels is None else labels[: len(images)]


def state(game: Game) -> dict[str, Tensor]:
    """Return all parameters and buffers of a game, on the CPU."""
    return {name: value.detach().cpu().contiguous() for name, value in game.state_dict().items()}
