"""Codes by a random projection: what an encoder must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 16
    "dimensions of a code"


class RandomCodes(Game):
    """Projection on random directions that the seed draws. Johnson and Lindenstrauss 1984: distances survive."""

    name = "random-codes"
    role = "reference"
    directions: Tensor
    sample = None  # type: ignore[assignment]  # so what is measured on samples says that it cannot be

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.register_buffer("directions", torch.zeros(data.mean.numel(), config.latent))

    def noise(self) -> dict[str, Noise]:
        return {}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        drawn = torch.randn(self.directions.shape, generator=torch.Generator().manual_seed(seed % 2**63))
        self.directions = (drawn / len(drawn) ** 0.5).to(images)

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.directions
