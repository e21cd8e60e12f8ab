"""GAN with the R1 penalty. Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise, Normal, Penalty, Player, RMSprop
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating, r1_penalty


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 256
    "size of z"
    penalty: Penalty = 10.0
    "weight of E|grad D|^2 at the data, without the paper's 1/2: gamma is twice this, as in the released code"


class GANR1(Game):
    """Non-saturating GAN with gradient penalty at the data. Mescheder et al. 2018, eq. 9."""

    name = "gan-r1"
    players = (
        Player("discriminator", nets=("D",), optimiser=RMSprop(1e-4)),
        Player("generator", nets=("G",), optimiser=RMSprop(1e-4)),
    )
    variants = {"gan-r1": {}, "gan-r1-ema": {"ema": 0.999}}

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
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        # Twice the halved cross-entropy: the penalty is weighed against the plain sum.
        cross_entropy = 2 * gan_discriminator(self.D(x), self.D(batch["fake"]))
        return cross_entropy + self.config.penalty * r1_penalty(self.D, x)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return gan_generator_nonsaturating(self.D(batch["fake"]))
