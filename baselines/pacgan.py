"""Packed GAN. Lin, Khetan, Fanti, Oh 2018, arXiv:1712.04086."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import (
    MLP,
    Adam,
    Count,
    DataSpec,
    Game,
    LogisticConfig,
    Noise,
    Normal,
    Player,
    Published,
    UserError,
)
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating


@dataclass(frozen=True)
class Config(LogisticConfig):
    latent: Count = 100
    "size of z"
    pack: Count = 2
    "examples of one kind that D judges together"

    def examples(self, batch: int) -> int:
        """Return the examples of as many packs as others see examples: in the paper a batch is 100 packs."""
        return super().examples(batch) * self.pack


# The released networks for points in the plane.
PLANE = {
    "backbone": MLP(
        generator=(400, 400, 400, 400),
        critic=(200, 200, 200),
        critic_activation="maxout",
        generator_init=0.02,
        critic_init=0.02,
        init_law="normal",
    ),
    "latent": 2,
    "batch": 100,
    "simultaneous": True,
    "discriminator.optimiser": Adam(1e-4, (0.8, 0.999)),
    "generator.optimiser": Adam(1e-4, (0.8, 0.999)),
}
METRICS = ("modes-captured", "high-quality", "mode-kl")
# pack -> dataset -> (value, standard error) in the order of METRICS
PLANE_TABLE = {
    2: {
        "ring": ((7.9, 0.1), (0.956, 0.020), (0.07, 0.03)),
        "grid": ((23.8, 0.7), (0.913, 0.008), (0.13, 0.04)),
    },
    3: {
        "ring": ((7.8, 0.1), (0.977, 0.003), (0.10, 0.02)),
        "grid": ((24.6, 0.4), (0.942, 0.004), (0.06, 0.02)),
    },
    4: {
        "ring": ((7.8, 0.1), (0.959, 0.014), (0.07, 0.02)),
        "grid": ((24.8, 0.2), (0.936, 0.006), (0.04, 0.01)),
    },
}
STACKED_KL = {2: 0.06, 3: 0.06, 4: 0.07}  # all with 1000 modes


def plane(pack: int) -> tuple[Published, ...]:
    """Return the published numbers of the networks for the plane."""
    return tuple(
        Published(
            dataset,
            metric,
            value,
            error,
            "Lin et al. 2018, table of 2D-ring and 2D-grid; +- is the standard error over 10 runs",
            note="other networks for 400,000 rounds of 100 packs",
        )
        for dataset, numbers in PLANE_TABLE[pack].items()
        for metric, (value, error) in zip(METRICS, numbers, strict=True)
    )


def stacked(pack: int) -> tuple[Published, ...]:
    """Return the published numbers on stacked MNIST."""
    pairs = {"stacked-modes@lenet-mnist-v1": 1000.0, "stacked-kl@lenet-mnist-v1": STACKED_KL[pack]}
    return tuple(
        Published(
            "stacked-mnist",
            metric,
            value,
            math.nan,
            "Lin et al. 2018, table of stacked MNIST, 26,000 samples",
            note="another classifier, 5x5 kernels, 50 epochs of 128,000 images with two generator steps per round",
        )
        for metric, value in pairs.items()
    )


class PacGAN(Game):
    """GAN whose discriminator judges several examples of one kind at once. Lin et al. 2018, section 2."""

    name = "pacgan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {f"pacgan-{pack}": {"pack": pack} for pack in (2, 3, 4)} | {
        f"pacgan-{pack}-2018": {"pack": pack, **PLANE} for pack in (2, 3, 4)
    }
    published = {f"pacgan-{pack}": plane(pack) + stacked(pack) for pack in (2, 3, 4)} | {
        f"pacgan-{pack}-2018": plane(pack) for pack in (2, 3, 4)
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.D = config.backbone.make_critic((config.pack * data.shape[0], *data.shape[1:]))

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def pack(self, x: Tensor) -> Tensor:
        """Return disjoint packs side by side in axis 1, (n // pack, pack * channels, ...); a rest is left out."""
        packs = len(x) // self.config.pack
        if not packs:
            raise UserError(
                f"a pack of {self.config.pack} needs a larger batch than {len(x)}; raise batch or lower pack"
            )
        return x[: packs * self.config.pack].unflatten(0, (packs, self.config.pack)).flatten(1, 2)

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        return super().match_features(player, self.pack(x), self.pack(fake))

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        real, fake = self.D(self.pack(x)), self.D(self.pack(batch["fake"]))
        return gan_discriminator(real, fake, self.config.real_target, self.config.fake_target)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return gan_generator_nonsaturating(self.D(self.pack(batch["fake"])))
