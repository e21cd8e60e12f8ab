"""Least-squares GAN. Mao et al. 2017, arXiv:1611.04076."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Player
from ganbench.game import Config as GameConfig
from ganbench.losses import least_squares_discriminator, least_squares_generator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"
    a: float = -1.0
    "code of the fakes for the discriminator"
    b: float = 1.0
    "code of the data for the discriminator"
    c: float = 0.0
    "code that the generator wants for its fakes; b - c = 1 and b - a = 2 give a Pearson divergence"


class LSGAN(Game):
    """Least-squares GAN with the codes (-1, 1, 0) or (0, 1, 1). Mao et al. 2017, eq. 2, 8 and 9."""

    name = "lsgan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {"lsgan": {}, "lsgan-01": {"a": 0.0, "b": 1.0, "c": 1.0}}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.D = config.backbone.make_critic(data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = batch["fake"]
        return least_squares_discriminator(self.D(x), self.D(fake), self.config.a, self.config.b)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return least_squares_generator(self.D(batch["fake"]), self.config.c)
