"""Wasserstein GAN with weight clipping. Arjovsky, Chintala, Bottou 2017, arXiv:1701.07875."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise, Normal, Player, Published, RMSprop
from ganbench.losses import wasserstein_critic, wasserstein_generator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"


class WGAN(Game):
    """Wasserstein GAN with clipped critic weights. Arjovsky et al. 2017, Algorithm 1 and released code."""

    name = "wgan"
    players = (
        # Released code: 100 critic steps in the first 25 rounds and in every 500th.
        Player(
            "critic",
            nets=("D",),
            optimiser=RMSprop(5e-5),
            steps=5,
            boost=100,
            boost_first=25,
            boost_every=500,
            clip=0.01,
        ),
        Player("generator", nets=("G",), optimiser=RMSprop(5e-5)),
    )
    published = {
        "wgan": (
            Published(
                "cifar10",
                "fid@inception-2015",
                42.6,
                float("nan"),
                "Miyato et al. 2018, Table 2, weight clipping",
                comparable=False,
                note="5,000 generated images, another network",
            ),
        )
    }

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

    def critic_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return wasserstein_critic(self.D(x), self.D(batch["fake"]))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return wasserstein_generator(self.D(batch["fake"]))
