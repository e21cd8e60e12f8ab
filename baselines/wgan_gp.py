"""Wasserstein GAN with gradient penalty. Gulrajani et al. 2017, arXiv:1704.00028."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Penalty, Player, Published, Uniform
from ganbench.game import Config as GameConfig
from ganbench.losses import gradient_penalty, wasserstein_critic, wasserstein_generator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 128
    "size of z"
    penalty: Penalty = 10.0
    "lambda in eq. 3"


class WGANGP(Game):
    """Wasserstein GAN with gradient penalty. Gulrajani et al. 2017, Algorithm 1."""

    name = "wgan-gp"
    players = (
        Player("critic", nets=("D",), steps=5, optimiser=Adam(1e-4, (0.0, 0.9))),
        Player("generator", nets=("G",), optimiser=Adam(1e-4, (0.0, 0.9))),
    )
    published = {
        "wgan-gp": (
            Published(
                "cifar10",
                "fid@inception-2015",
                40.2,
                float("nan"),
                "Miyato et al. 2018, Table 2, WGAN-GP",
                comparable=False,
                note="5,000 generated images, another network",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        if config.backbone.critic_uses_batch_statistics:
            raise ValueError(
                "a gradient penalty needs backbone.critic_norm=false and backbone.minibatch_kernels=0"
            )
        self.D = config.backbone.make_critic(data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent), "mix": Uniform(1, training_only=True)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def critic_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = batch["fake"]
        penalty = gradient_penalty(self.D, x, fake, batch["mix"])
        return wasserstein_critic(self.D(x), self.D(fake)) + self.config.penalty * penalty

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return wasserstein_generator(self.D(batch["fake"]))
