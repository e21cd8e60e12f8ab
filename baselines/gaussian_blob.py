"""One normal law with the moments of the training set: what a sampler of two moments scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganbench.game import Config, DataSpec, Game, Noise, Normal


class GaussianBlob(Game):
    """Normal law with the mean and the covariance of the training set; pixels are then cut to their range."""

    name = "gaussian-blob"
    role = "reference"

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        size = data.mean.numel()
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("factor", torch.zeros(size, size))

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.data.mean.numel())}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        x = images.flatten(1).double()
        centred = x - x.mean(0)
        # By eigenvalues, for pixels that are always black make the covariance singular.
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
        self.centre = x.mean(0).to(images)
        self.factor = (vectors * values.clamp(min=0).sqrt()).to(images)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        made = (self.centre + noise["z"] @ self.factor.T).unflatten(1, self.data.shape)
        return made.clamp(-1, 1) if self.data.bounded else made
