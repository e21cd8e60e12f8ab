"""The mean of the training set as every sample and every reconstruction: what a model must beat that has codes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganbench.game import Config, DataSpec, Game, Noise, Uniform


class MeanImage(Game):
    """The mean of the training set, whatever is asked: of all constants the one of least squared error."""

    name = "mean-image"
    role = "reference"

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.register_buffer("image", torch.zeros(data.shape))

    def noise(self) -> dict[str, Noise]:
        return {"item": Uniform(*(1 for _ in self.data.shape))}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        self.image = images.mean(0)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.image + 0 * noise["item"]  # the noise says no more than how many

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.image.expand_as(x)
