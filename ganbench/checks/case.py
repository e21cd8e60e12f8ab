"""One model on tiny data with small networks: what the checks of a game play with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganbench.checks.result import Fault, fault_of
from ganbench.datasets import Dataset
from ganbench.distributions.noise import draw
from ganbench.game.contract import Game
from ganbench.game.model import Model, Settings
from ganbench.records import seed_stream
from ganbench.training.batches import scale
from ganbench.training.stack import Stack, labels_for

SHAPES = ((3, 8, 8), (1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (4, 1, 8, 8), (4, 1, 16, 16), (2,), (1,))
"items of the data that are tried, in this order: a model need not take all"
ITEMS, CLASSES = 64, 4
BATCH, ROUNDS = 24, 6  # 2 batches to an epoch, so that the order is reshuffled on the way
DENSE: Mapping[str, Any] = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
LARGEST, LARGEST_OF_PLAYER = 8, 3  # what integer settings, such as widths and schedules, are cut to

Batch = dict[str, Tensor]


def tiny_data(shape: tuple[int, ...], n: int = ITEMS) -> Dataset:
    """Return random items of a shape with random labels: uint8 images or sequences, or vectors."""
    generator = torch.Generator().manual_seed(sum(shape))

    def items() -> Tensor:
        if len(shape) == 1:
            return torch.randn(n, *shape, generator=generator)
        return torch.randint(256, (n, *shape), dtype=torch.uint8, generator=generator)

    splits = ("train", "validation", "test")
    images = {split: items() for split in splits}
    labels = {split: torch.randint(CLASSES, (n,), generator=generator) for split in splits}
    return Dataset(f"tiny-{'x'.join(map(str, shape))}", images, labels, classes=CLASSES)


def small_settings(model: Model, backbone: Mapping[str, Any] = DENSE) -> Settings:
    """Return a model's settings with every integer above a bound cut to it."""
    settings = model.settings(backbone)
    players = {player.name for player in model.game.players}
    return model.settings(backbone, dict(_cut(settings, players)))


def _cut(settings: Mapping[str, Any], players: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield path and new value of the settings that are too large."""

    def walk(tree: Mapping[str, Any], prefix: str, bound: int) -> Iterator[tuple[str, Any]]:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{key}.", LARGEST_OF_PLAYER if key in players else bound)
            elif isinstance(value, list) and any(_above(part, bound) for part in value):
                yield prefix + key, [min(part, bound) for part in value]
            elif _above(value, bound):
                yield prefix + key, bound

    yield from walk(settings, "", LARGEST)


def _above(value: Any, bound: int) -> bool:
    return isinstance(value, int) and value > bound


@dataclass(frozen=True)
class Case:
    """A model, data and settings on which it can be built; everything is float64."""

    model: Model
    data: Dataset
    settings: Settings

    @staticmethod
    def of(model: Model, backbone: Mapping[str, Any] = DENSE) -> Case:
        """Return the first case on which the model plays, or else can be built; Fault if there is none."""
        built: list[Case] = []
        refusals: list[str] = []
        for settings in (small_settings(model, backbone), model.settings(backbone)):
            for shape in SHAPES:
                case = Case(model, tiny_data(shape), settings)
                if refusal := fault_of(case.build):
                    refusals.append(refusal)
                    continue
                built.append(case)
                if not fault_of(case._play):
                    return case
        if not built:
            raise Fault(f"it can be built on no tiny images, sequences or vectors; on the first: {refusals[0]}")
        return built[0]

    def _play(self) -> None:
        for name in self.calls():
            self.call(name, self.build())

    def build(self, seed: int = 0) -> Game:
        """Return the game with everything that a seed decides."""
        init = seed_stream(self.data.name, self.model.name, seed, "init")
        game = self.model.build(self.data.data_spec, self.settings, init).double()
        if type(game).fit is not Game.fit:
            game.fit(scale(self.data.images["train"], torch.float64), labels_for(game, self.data), seed)
        return game

    def stack(self, *seeds: int, dtype: torch.dtype = torch.float64, engine: str = "eager") -> Stack:
        """Return the training of some seeds before its first round."""
        games = [self.build(seed) for seed in seeds]
        return Stack(games, seeds, self.data, self.model.name, BATCH, ROUNDS, dtype=dtype, engine=engine)

    def x(self, n: int = BATCH) -> Tensor:
        """Return training items as a game sees them."""
        return scale(self.data.shown("train", n), torch.float64)

    def noise(self, game: Game, n: int, training: bool = False, seed: int = 5) -> Batch:
        """Return the noise that a game declares, all of it or what is needed to sample."""
        laws = {name: law for name, law in game.noise().items() if training or not law.training_only}
        drawn = draw(laws, n, [torch.Generator().manual_seed(seed)], torch.empty(0, dtype=torch.float64))
        return {name: value[0] for name, value in drawn.items()}

    def batch(self, game: Game, n: int = BATCH) -> Batch:
        """Return what a loss is given beside x: noise, and labels if the game is supervised."""
        labels = {"y": self.data.labels["train"][:n]} if game.supervision != "unlabelled" else {}
        return self.noise(game, n, training=True) | labels

    def calls(self) -> tuple[str, ...]:
        """Return the names of the methods that training and sampling call: precompute, each loss, sample."""
        precompute = ("precompute",) if self.model.game.precompute is not Game.precompute else ()
        return (*precompute, *(f"{player.name}_loss" for player in self.model.game.players), "sample")

    def call(self, name: str, game: Game, x: Tensor | None = None, batch: Batch | None = None) -> Any:
        """Return what one of the calls gives.

        Args:
            name: of the method.
            game: in training mode but for `sample`.
            x: training items, the first ones by default.
            batch: noise and labels, without what is precomputed; those of one fixed seed by default.
        """
        x, batch = self.x() if x is None else x, self.batch(game) if batch is None else batch
        game.train(name != "sample")
        if name == "sample":
            kept = [key for key, law in game.noise().items() if not law.training_only]
            return game.sample({key: value for key, value in batch.items() if key in kept})
        if name == "precompute":
            return game.precompute(batch)
        return game(name, x, batch | game.precompute(batch))


def deviation(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the largest difference relative to max(1, |value|) over all tensors; Fault at NaN or infinity."""
    worst = 0.0
    for name, value in one.items():
        if not value.isfinite().all():
            raise Fault(f"{name} is NaN or infinite after {ROUNDS} rounds of training")
        if value.numel():
            gap = (value.double() - other[name].double()).abs() / value.double().abs().clamp(min=1)
            worst = max(worst, gap.max().item())
    return worst
