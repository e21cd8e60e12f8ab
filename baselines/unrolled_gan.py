"""Unrolled GAN: a generator that foresees the discriminator's next steps. Metz et al. 2017, arXiv:1611.02163."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganbench.game import MLP, Adam, Count, DataSpec, Game, Noise, Normal, Player, Published
from ganbench.game import Config as GameConfig
from ganbench.losses import gan_discriminator, gan_generator_minimax, gan_generator_nonsaturating


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 256
    "size of z ~ N(0, 1)"
    saturating: bool = False
    "let the generator minimise E log(1 - D(G)), as the authors' notebook does, instead of -E log D(G)"


# The authors' notebook of a ring, 25,000 rounds of batches of 512; its D keeps 1e-4 beside a G of 1e-3.
RELEASED_2017 = {
    "backbone": MLP(
        generator=(128, 128),
        critic=(128, 128),
        generator_activation="tanh",
        critic_activation="tanh",
        generator_norm="none",
        generator_init=1.4,
        critic_init=1.4,
        init_law="orthogonal",
    ),
    "batch": 512,
    "saturating": True,
    "simultaneous": True,
    "generator.unroll": 5,
}

# Of 5 unrolled steps: dataset, metric -> value. Srivastava et al. 2017.
TABLE = {
    ("ring", "modes-captured"): 7.6,
    ("ring", "high-quality"): 0.356,
    ("grid", "modes-captured"): 23.6,
    ("grid", "high-quality"): 0.16,
    ("mixture-1200d", "modes-captured"): 0.0,
    ("stacked-mnist", "stacked-modes@lenet-mnist-v1"): 48.7,
    ("stacked-mnist", "stacked-kl@lenet-mnist-v1"): 4.32,
}


class UnrolledGAN(Game):
    """Unrolled GAN: the generator learns through K steps of the discriminator, Adam included. Metz et al. 2017.

    The generator descends the value of the game at the discriminator to come (eq. 7), so its loss holds the real
    term too: that D depends on G. With K = 0 this term has no gradient.
    """

    name = "unrolled-gan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(1e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(1e-3, (0.5, 0.999))),
    )
    variants = {
        "unrolled-gan-0": {"generator.unroll": 0},
        "unrolled-gan-1": {"generator.unroll": 1},
        "unrolled-gan-5": {"generator.unroll": 5},
        "unrolled-gan-10": {"generator.unroll": 10},
        "unrolled-2017": RELEASED_2017,
    }
    published = {
        "unrolled-gan-5": tuple(
            Published(
                dataset,
                metric,
                value,
                math.nan,
                "Srivastava et al. 2017, table of mode collapse, mean of 5 runs",
                comparable=dataset != "mixture-1200d",
                note="other networks and length of training"
                + ("; 10 standard deviations there, root mean squares here" if "1200" in dataset else ""),
            )
            for (dataset, metric), value in TABLE.items()
        ),
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

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return gan_discriminator(self.D(x), self.D(batch["fake"]))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """E log D(x), and the cost of the generated images."""
        cost = gan_generator_minimax if self.config.saturating else gan_generator_nonsaturating
        return cost(self.D(batch["fake"])) - gan_generator_nonsaturating(self.D(x))
