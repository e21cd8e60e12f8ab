"""Relativistic pairing GAN with two penalties (R3GAN). Huang et al. 2024, arXiv:2501.05441, and released code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Penalty, Player, Published
from ganbench.game import Config as GameConfig
from ganbench.losses import (
    gan_discriminator,
    gan_generator_nonsaturating,
    r1_penalty,
    relativistic_discriminator,
    relativistic_generator,
)


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 64
    "size of z"
    loss: Literal["relativistic", "plain"] = "relativistic"
    "tell real from fake in pairs, or one by one as the non-saturating GAN does"
    r1: Penalty = 1.0
    "weight gamma of |grad D|^2 / 2 at the data, at every step: lazy penalties fail on stacked MNIST"
    r2: Penalty = 1.0
    "weight gamma of |grad D|^2 / 2 at generated images"


ADAM = Adam(2e-4, (0.0, 0.99))  # there beta2 rises from 0.9 to 0.99
NOTE = "a small ResNet there; another classifier; KL is of the model against uniform classes"


def _stacked(modes: float, kl: float) -> tuple[Published, ...]:
    numbers = {"stacked-modes@lenet-mnist-v1": modes, "stacked-kl@lenet-mnist-v1": kl}
    source = "Huang et al. 2024, stacked MNIST, small ResNet"
    return tuple(Published("stacked-mnist", m, value, math.nan, source, note=NOTE) for m, value in numbers.items())


class RpGAN(Game):
    """GAN on differences of real and fake logits, with R1 and R2 penalties. Huang et al. 2024, section 3.

    The variants are the paper's 2 x 2, of losses and of penalties, but for the plain loss without penalties, which
    is `gan`. With R1 alone, `r2=0`, either loss diverges there on stacked MNIST.
    """

    name = "rpgan"
    players = (
        Player("discriminator", nets=("D",), optimiser=ADAM),
        Player("generator", nets=("G",), optimiser=ADAM),
    )
    variants = {
        "rpgan-r1r2": {},
        "rpgan": {"r1": 0.0, "r2": 0.0},
        "gan-r1r2": {"loss": "plain"},
    }
    published = {"rpgan-r1r2": _stacked(1000, 0.0781), "gan-r1r2": _stacked(693, 0.927)}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        if (config.r1 or config.r2) and config.backbone.critic_uses_batch_statistics:
            raise ValueError(
                "a gradient penalty needs backbone.critic_norm=false and backbone.minibatch_kernels=0"
            )
        self.D = config.backbone.make_critic(data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        real, fake, config = self.D(x), self.D(batch["fake"]), self.config
        if config.loss == "relativistic":
            loss = relativistic_discriminator(real, fake)
        else:
            loss = 2 * gan_discriminator(real, fake)  # the plain sum, as the penalties are weighed against it
        if config.r1:
            loss = loss + config.r1 / 2 * r1_penalty(self.D, x)
        if config.r2:
            loss = loss + config.r2 / 2 * r1_penalty(self.D, batch["fake"])
        return loss

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = self.D(batch["fake"])
        if self.config.loss == "relativistic":
            return relativistic_generator(self.D(x), fake)
        return gan_generator_nonsaturating(fake)
