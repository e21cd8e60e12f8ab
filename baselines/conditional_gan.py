"""Conditional GANs. Mirza and Osindero 2014, arXiv:1411.1784; Miyato and Koyama 2018, arXiv:1802.05637."""

from __future__ import annotations

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
    Noise,
    Normal,
    Player,
    Published,
    Uniform,
    UserError,
)
from ganbench.game import Config as GameConfig
from ganbench.layers import one_hot
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"
    prior: Literal["normal", "uniform"] = "normal"
    "law of z: N(0, 1) or U(0, 1)"
    judge: Literal["concatenation", "projection"] = "concatenation"
    "how D sees the class: beside the pixels, or as the inner product of its embedding with D's features"


SGD_2014 = SGD(lr=0.1, momentum=0.5, final_momentum=0.7, ramp=125_000, schedule=Decay(divisor=1.00004, floor=1e-6))
# Mirza and Osindero, section 4.1, as far as the backbone goes. The paper maps z to 200 and y to 1000 units before
# they meet in 1200, and x to 240 and y to 50 maxout units before they meet in 240: here one layer on both takes
# their place, with as many units. The generator has no dropout here, 0.5 there. The ramp's length is Goodfellow's.
MIRZA_2014 = {
    "backbone": MLP(
        generator=(1200, 1200),
        critic=(290, 240),
        critic_activation="maxout",
        generator_norm="none",
        keep=(1.0, 0.5, 0.5),
    ),
    "prior": "uniform",
    "simultaneous": True,
    "discriminator.optimiser": SGD_2014,
    "generator.optimiser": SGD_2014,
}


class ConditionalGAN(Game):
    """GAN whose generator and discriminator are told the class. Mirza and Osindero 2014, eq. 2.

    The generator takes the one-hot class beside z. The discriminator takes it beside the pixels (dense backbone),
    as one more map per class (conv), or by projection: head(features) + <embedding(y), features>, Miyato and
    Koyama 2018, eq. 3, here with this file's loss and no spectral norm. Generated images have uniform classes.
    """

    name = "conditional-gan"
    supervision = "conditional"
    players = (
        Player("discriminator", nets=("D", "embedding"), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {
        "conditional-gan": {},
        "conditional-gan-projection": {"judge": "projection"},
        "conditional-gan-2014": MIRZA_2014,
    }
    published = {
        "conditional-gan-2014": (
            Published(
                "mnist",
                "parzen-goodfellow",
                132,
                1.8,
                "Mirza and Osindero 2014, Table 1; +- is the standard error over test images",
                comparable=False,
                note="1,000 generated images of each class, checkpoint of the best validation likelihood",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if not data.classes:
            raise ValueError("a conditional game needs data with classes")
        backbone, shape, classes = config.backbone, data.shape, data.classes
        self.G = backbone.make_generator(config.latent + classes, shape)
        self.maps = backbone.kind == "conv"
        if config.judge == "projection":
            self.D = backbone.make_critic(shape)
            if self.D.mask_size:
                raise ValueError("the projection critic needs a backbone without dropout")
            *_, head = (layer for layer in self.D.modules() if isinstance(layer, nn.Linear))
            self.embedding = nn.Linear(classes, head.in_features, bias=False)
        elif self.maps:
            self.D = backbone.make_critic((shape[0] + classes, *shape[1:]))
        else:
            self.D = backbone.make_critic((data.mean.numel() + classes,))

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        raise UserError("feature_matching needs a critic of images alone; that of a conditional GAN sees labels")

    def noise(self) -> dict[str, Noise]:
        size = self.config.latent
        z = Uniform(size) if self.config.prior == "uniform" else Normal(size)
        laws: dict[str, Noise] = {"z": z, "class": Uniform(1)}
        if self.D.mask_size:
            laws["drop_real"] = Uniform(self.D.mask_size, training_only=True)
            laws["drop_fake"] = Uniform(self.D.mask_size, training_only=True)
        return laws

    def condition(self, noise: Mapping[str, Tensor], y: Tensor) -> Tensor:
        """Return generated images of the classes y, int64 (n,)."""
        return self.G(torch.cat([noise["z"], one_hot(y, self.data.classes, noise["z"])], 1))

    def _classes(self, noise: Mapping[str, Tensor]) -> Tensor:
        """Return the classes of generated images, int64 (n,)."""
        # Rounding may carry the product to the number of classes.
        return (noise["class"][:, 0] * self.data.classes).long().clamp(max=self.data.classes - 1)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.condition(noise, self._classes(noise))

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def judge(self, x: Tensor, y: Tensor, drop: Tensor | None = None) -> Tensor:
        """Return the logits of images (n, *shape) as images of the classes y, (n, 1)."""
        hot = one_hot(y, self.data.classes, x)
        if self.config.judge == "projection":
            pixels = self.D.features(x)
            return self.D.blocks[-1](pixels) + (self.embedding(hot) * pixels).sum(1, keepdim=True)
        if self.maps:
            maps = hot[:, :, None, None].expand(*hot.shape, *x.shape[2:])
            return self.D(torch.cat([x, maps], 1), drop)
        return self.D(torch.cat([x.flatten(1), hot], 1), drop)

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        real = self.judge(x, batch["y"], batch.get("drop_real"))
        return gan_discriminator(real, self.judge(batch["fake"], self._classes(batch), batch.get("drop_fake")))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = self.judge(batch["fake"], self._classes(batch), batch.get("drop_fake"))
        return gan_generator_nonsaturating(fake)
