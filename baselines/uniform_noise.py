"""Uniform noise on the range of the data: what a score must put last."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganbench.game import Config, DataSpec, Game, Noise, Uniform


class UniformNoise(Game):
    """Uniform noise: of vectors on the smallest box around the training set, of pixels from black to white."""

    name = "uniform-noise"
    role = "reference"

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.register_buffer("low", torch.full(data.shape, -1.0))
        self.register_buffer("high", torch.full(data.shape, 1.0))

    def noise(self) -> dict[str, Noise]:
        return {"place": Uniform(*self.data.shape)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        if not self.data.bounded:
            self.low, self.high = images.amin(0), images.amax(0)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.low + (self.high - self.low) * noise["place"]
