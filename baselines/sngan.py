"""Spectrally normalised GAN with the hinge loss. Miyato et al. 2018, arXiv:1802.05957."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import Adam, Count, DataSpec, Game, LinearDecay, Noise, Normal, Player, Published
from ganbench.game import Config as GameConfig
from ganbench.losses import hinge_discriminator, wasserstein_generator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 128
    "size of z"


class SNGAN(Game):
    """Spectrally normalised GAN, hinge loss. Miyato et al. 2018, Algorithm 1, eq. 16 and 17."""

    name = "sngan"
    players = (
        Player("discriminator", nets=("D",), steps=5, optimiser=Adam(2e-4, (0.0, 0.9), LinearDecay())),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.0, 0.9), LinearDecay())),
    )
    published = {
        "sngan": (
            Published(
                "cifar10",
                "fid@inception-2015",
                25.5,
                float("nan"),
                "Miyato et al. 2018, Table 2, SN-GANs with hinge loss",
                comparable=False,
                note="5,000 generated images, another network",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.D = config.backbone.make_critic(data.shape, spectral=True)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return hinge_discriminator(self.D(x), self.D(batch["fake"]))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return wasserstein_generator(self.D(batch["fake"]))  # eq. 17: the same linear cost
