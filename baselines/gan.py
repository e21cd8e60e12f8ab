"""Generative adversarial networks. Goodfellow et al. 2014, arXiv:1406.2661; costs: Goodfellow 2016, 3.2."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganbench.game import (
    MLP,
    SGD,
    Adam,
    Count,
    DataSpec,
    Decay,
    Game,
    LogisticConfig,
    Noise,
    Normal,
    Player,
    Published,
    Uniform,
)
from ganbench.losses import (
    gan_discriminator,
    gan_generator_maximum_likelihood,
    gan_generator_minimax,
    gan_generator_nonsaturating,
)

COSTS = {
    "nonsaturating": gan_generator_nonsaturating,
    "minimax": gan_generator_minimax,
    "maximum-likelihood": gan_generator_maximum_likelihood,
}


@dataclass(frozen=True)
class Config(LogisticConfig):
    latent: Count = 100
    "size of z"
    prior: Literal["normal", "uniform"] = "normal"
    "law of z: N(0, 1) or U(-sqrt 3, sqrt 3), both of unit variance"
    cost: Literal["nonsaturating", "minimax", "maximum-likelihood"] = "nonsaturating"
    "generator cost"
    mean_start: bool = False
    "start the generator's output bias at the logit of the mean training image"


SGD_2014 = SGD(
    lr=0.1, momentum=0.5, final_momentum=0.7, ramp=125_000, schedule=Decay(divisor=1.000004, floor=1e-5)
)
# The released MNIST configuration; 250 epochs of 500 rounds make the momentum ramp.
RELEASED_2014 = {
    "backbone": MLP(
        generator=(1200, 1200),
        critic=(240, 240),
        critic_activation="maxout",
        generator_norm="none",
        keep=(0.8, 0.5, 0.5),
        generator_init=0.05,
        critic_init=0.005,
        zero_one=True,
    ),
    "prior": "uniform",
    "mean_start": True,
    "simultaneous": True,
    "discriminator.optimiser": SGD_2014,
    "generator.optimiser": SGD_2014,
}

# Mode coverage, value and error of Lin et al. 2018, and what Srivastava et al. 2017 print for another GAN.
PLANES = "other networks and length of training"
# dataset, metric -> (value, standard error) of Lin et al., value of Srivastava et al.
MODES = {
    ("ring", "modes-captured"): (6.3, 0.5, 1.0),
    ("ring", "high-quality"): (0.982, 0.002, 0.993),
    ("ring", "mode-kl"): (0.45, 0.09, None),
    ("grid", "modes-captured"): (17.3, 0.8, 3.3),
    ("grid", "high-quality"): (0.948, 0.007, 0.005),
    ("grid", "mode-kl"): (0.70, 0.07, None),
    ("mixture-1200d", "modes-captured"): (math.nan, math.nan, 1.6),
    ("stacked-mnist", "stacked-modes@lenet-mnist-v1"): (78.9, 6.5, 99.0),
    ("stacked-mnist", "stacked-kl@lenet-mnist-v1"): (4.50, 0.13, 3.4),
}
TABLES = [
    Published(
        dataset,
        metric,
        value,
        error,
        f"{paper}, GAN row",
        comparable=dataset != "mixture-1200d",
        note=PLANES + ("; 10 standard deviations there, root mean squares here" if "1200" in dataset else ""),
    )
    for (dataset, metric), (lin, spread, srivastava) in MODES.items()
    for paper, value, error in (
        ("Lin et al. 2018", lin, spread),
        ("Srivastava et al. 2017", srivastava, math.nan),
    )
    if value is not None and not math.isnan(value)
]


class GAN(Game):
    """GAN with the non-saturating, minimax or maximum-likelihood cost. Goodfellow et al. 2014."""

    name = "gan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {
        "gan": {},
        "gan-minimax": {"cost": "minimax"},
        "gan-maximum-likelihood": {"cost": "maximum-likelihood"},
        "gan-2014": RELEASED_2014,
    }
    published = {
        "gan": tuple(TABLES),
        "gan-2014": (
            Published(
                "mnist",
                "parzen-goodfellow",
                225,
                2,
                "Goodfellow et al. 2014, Table 1; +- is the standard error over test images",
            ),
        ),
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.D = config.backbone.make_critic(data.shape)
        if config.mean_start:
            head = self.G.layers[-1]
            if not isinstance(head, nn.Linear):
                raise ValueError("mean_start needs the mlp backbone")
            with torch.no_grad():
                head.bias.copy_(torch.logit(data.mean.flatten().clamp(1e-3, 1 - 1e-3)))

    def noise(self) -> dict[str, Noise]:
        size = self.config.latent
        uniform = self.config.prior == "uniform"
        laws: dict[str, Noise] = {
            "z": Uniform(size, low=-math.sqrt(3), high=math.sqrt(3)) if uniform else Normal(size)
        }
        if self.D.mask_size:
            laws["drop_real"] = Uniform(self.D.mask_size, training_only=True)
            laws["drop_fake"] = Uniform(self.D.mask_size, training_only=True)
        return laws

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        real, fake = self.D(x, batch.get("drop_real")), self.D(batch["fake"], batch.get("drop_fake"))
        return gan_discriminator(real, fake, self.config.real_target, self.config.fake_target)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return COSTS[self.config.cost](self.D(batch["fake"], batch.get("drop_fake")))
