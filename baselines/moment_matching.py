"""Moment matching: the mean and covariance of the data. Mohamed and Lakshminarayanan 2016, arXiv:1610.03483."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Player
from ganbench.game import Config as GameConfig


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"
    statistic: Literal["mean", "covariance", "mean-covariance"] = "mean-covariance"
    "what is matched: the d means, the d x d covariances, or both"


def statistics(x: Tensor, which: str) -> Tensor:
    """Return the moments of a batch (n, d) in a row: means, then covariances with divisor n - 1."""
    mean = x.mean(0)
    if which == "mean":
        return mean
    centred = x - mean
    covariance = (centred.T @ centred / (len(x) - 1)).flatten()
    return covariance if which == "covariance" else torch.cat([mean, covariance])


class MomentMatching(Game):
    """Generator that matches moments of the data: enough for one Gaussian, not for a mixture.

    It minimises |E_q s(x) - E_p s(x)|^2, both means over the minibatch; Mohamed and Lakshminarayanan 2016. The
    sampling noise of the statistics adds their variance, of order 1 / batch, which favours a model slightly too
    narrow.
    """

    name = "moment-matching"
    players = (Player("generator", nets=("G",), optimiser=Adam(1e-3, (0.9, 0.999))),)
    variants = {"moment-matching": {}, "moment-matching-mean": {"statistic": "mean"}}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        which = self.config.statistic
        gap = statistics(batch["fake"].flatten(1), which) - statistics(x.flatten(1), which)
        return gap.square().sum()
