"""Generators trained on a learned density ratio. Mohamed and Lakshminarayanan 2016, arXiv:1610.03483."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Player
from ganbench.game import Config as GameConfig
from ganbench.losses import RATIO_LOSSES, gan_generator_maximum_likelihood, gan_generator_nonsaturating, reverse_kl

# All are means over generated points, of functions of log r with r = p / q.
COSTS = {
    "reverse-kl": reverse_kl,
    "nonsaturating": gan_generator_nonsaturating,
    "likelihood": gan_generator_maximum_likelihood,
}


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"
    loss: Literal["bernoulli", "brier", "exponential", "lsif", "kliep", "logistic"] = "bernoulli"
    "what the ratio network minimises"
    cost: Literal["reverse-kl", "nonsaturating", "likelihood"] = "reverse-kl"
    "generator minimises -E_q log r, -E_q log(r / (1 + r)) or -E_q r, whose gradient is that of KL(p || q)"


class DensityRatio(Game):
    """Ratio network by a proper or Bregman loss, against a generator that drives the ratio to 1."""

    name = "ratio"
    players = (
        Player("ratio", nets=("R",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {f"ratio-{loss}": {"loss": loss} for loss in RATIO_LOSSES}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.loss = RATIO_LOSSES[config.loss]
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.R = config.backbone.make_critic(data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def log_ratio(self, x: Tensor) -> Tensor:
        """Return the estimate of log p(x) / q(x) at images or vectors (n, *shape), (n, 1)."""
        return self.loss.log_ratio(self.R(x))

    def ratio_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.loss(self.log_ratio(x), self.log_ratio(batch["fake"]))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return COSTS[self.config.cost](self.log_ratio(batch["fake"]))
