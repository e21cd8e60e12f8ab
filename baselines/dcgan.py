"""Deep convolutional GAN. Radford, Metz, Chintala 2016, arXiv:1511.06434."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ganbench.game import Adam, Conv, Count, DataSpec, Game, LogisticConfig, Noise, Normal, Player, Uniform
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating


@dataclass(frozen=True)
class Config(LogisticConfig):
    latent: Count = 100
    "size of z"
    prior: Literal["uniform", "normal"] = "uniform"
    "law of z: U(-1, 1), or N(0, 1)"


class DCGAN(Game):
    """Deep convolutional GAN with batch norm in both networks. Radford et al. 2016, section 4 and Figure 1."""

    name = "dcgan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {
        # Figure 1: 1024, 512, 256, 128 channels at 64x64. The Torch release halves them and draws normal z.
        "dcgan": {"backbone": Conv(width=128, critic_norm=True)},
        "dcgan-torch": {"backbone": Conv(width=64, critic_norm=True), "prior": "normal"},
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.D = config.backbone.make_critic(data.shape)

    def noise(self) -> dict[str, Noise]:
        size = self.config.latent
        return {"z": Uniform(size, low=-1.0) if self.config.prior == "uniform" else Normal(size)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        real, fake = self.D(x), self.D(batch["fake"])  # two batches: each has its own moments
        return gan_discriminator(real, fake, self.config.real_target, self.config.fake_target)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return gan_generator_nonsaturating(self.D(batch["fake"]))
