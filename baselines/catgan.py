"""Categorical GAN. Springenberg 2016, arXiv:1511.06390; no code of the author is known, ports give the details."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganbench.game import (
    MLP,
    Adam,
    Count,
    DataSpec,
    Game,
    Noise,
    NonNegative,
    Normal,
    Penalty,
    Player,
    Published,
    Uniform,
)
from ganbench.game import Config as GameConfig
from ganbench.layers import BatchNorm1d, BatchNorm2d, Generator, LeakyReLU, Network, recalibrate_batch_norm

SLOPE = 0.1


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 128
    "size of z"
    clusters: Count = 20
    "number K of categories; 20 is that of the paper's clusterings of MNIST"
    blur: NonNegative = 0.3
    "standard deviation of the normal noise on D's input in [0, 1] and on its pre-activations in training"
    balance: Penalty = 1.0
    "weight of the entropy of the mean prediction, which asks for equally frequent categories"
    networks: Literal["backbone", "conv-2016"] = "backbone"
    "networks of the backbone's sizes, or the paper's convolutions"


# Sizes of the paper, as in the port smayru/catgan. It also decays all weights by 1e-5, which is not done here, and
# the leaky ReLU of its generator has slope 0.1 twice and 0.2 once, here 0.2.
DENSE = MLP(generator=(500, 500, 1000), critic=(1000, 500, 250, 250, 250), generator_activation="leaky-relu")
# Rates of a port of the convolutions; it weighs balance 0.01, as cross-entropy, and decays weights and rates.
CONV = {"networks": "conv-2016", "generator.optimiser.lr": 4e-4}


class Classifier(Network):
    """A critic with K outputs whose input and pre-activations, before the norm, get noise from outside.

    Args:
        blocks: each Sequential(layer, what follows its noise), and the head, which gets none.
        shape: of x; images are shown in [0, 1].
        level: standard deviation of the noise.
    """

    def __init__(self, blocks: list[nn.Module], shape: tuple[int, ...], level: float) -> None:
        x, sizes = torch.zeros(1, *shape), [math.prod(shape)]
        with torch.no_grad():
            for block in blocks[:-1]:
                layer, rest = block.eval().children()
                x = layer(x)
                sizes.append(x.numel())
                x = rest(x)
                block.train()
        super().__init__(blocks, widths=tuple(sizes), zero_one=len(shape) > 1)
        self.level = level

    def forward(self, x: Tensor, normal: Tensor | None = None) -> Tensor:
        """Map (n, *shape) to (n, K) logits; `normal` (n, mask_size) switches noise on."""
        if normal is None:
            return super().forward(x)
        first, *parts = normal.split(self.widths, 1)
        x = ((x + 1) / 2 if self.zero_one else x) + self.level * first.reshape(x.shape)
        for block, part in zip(self.blocks, parts, strict=False):
            layer, rest = block.children()
            before = layer(x)
            x = rest(before + self.level * part.reshape(before.shape))
        return self.blocks[-1](x)


def _dense(inputs: int, width: int) -> nn.Module:
    layer = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width, bias=False))
    return nn.Sequential(layer, nn.Sequential(BatchNorm1d(width), LeakyReLU(SLOPE)))


def _maps(layer: nn.Conv2d, *pool: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.Sequential(BatchNorm2d(layer.out_channels), LeakyReLU(SLOPE), *pool))


def backbone_blocks(config: Config, shape: tuple[int, ...]) -> list[nn.Module]:
    """Return the layers of a classifier with the sizes of the backbone's critic, each with batch norm."""
    if isinstance(config.backbone, MLP):
        widths = (math.prod(shape), *config.backbone.critic)
        blocks = [_dense(*pair) for pair in itertools.pairwise(widths)]
        return [*blocks, nn.Linear(widths[-1], config.clusters)]
    *body, head = config.backbone.make_encoder(shape, config.clusters).blocks
    layers = [part for block in body for part in block.modules() if isinstance(part, nn.Conv2d)]
    for layer in layers:
        layer.bias = None  # a norm follows
    return [*(_maps(layer) for layer in layers), head]


def conv_blocks(shape: tuple[int, ...], clusters: int) -> list[nn.Module]:
    """Return the paper's convolutions, padded to keep sizes, for images of any size."""
    average = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return [
        _maps(nn.Conv2d(shape[0], 32, 5, padding=2, bias=False), nn.MaxPool2d(3, 2, 1)),
        _maps(nn.Conv2d(32, 64, 3, padding=1, bias=False)),
        _maps(nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.MaxPool2d(3, 2, 1)),
        _maps(nn.Conv2d(64, 128, 3, padding=1, bias=False)),
        nn.Sequential(nn.Conv2d(128, clusters, 1, bias=False), BatchNorm2d(clusters), *average),
    ]


def conv_generator(latent: int, shape: tuple[int, ...]) -> Generator:
    """Return the paper's generator: maps of a quarter of the size, twice doubled by zeros between the pixels."""
    side = shape[-1] // 4
    layers = [nn.Linear(latent, 96 * side**2, bias=False), nn.Unflatten(1, (96, side, side))]
    layers += [BatchNorm2d(96), LeakyReLU(SLOPE)]
    for inputs, width in ((96, 96), (64, 64)):
        # The first, a convolution of maps with zeros between their pixels, is written as its transpose.
        layers += [nn.ConvTranspose2d(inputs, width, 5, 2, 2, 1, bias=False), BatchNorm2d(width), LeakyReLU(SLOPE)]
        layers += [nn.Conv2d(width, 64, 5, padding=2, bias=False), BatchNorm2d(64), LeakyReLU(SLOPE)]
    return Generator(nn.Sequential(*layers, nn.Conv2d(64, shape[0], 5, padding=2), nn.Flatten()), shape)


def sample_entropy(log_p: Tensor) -> Tensor:
    """Return the mean entropy of predictions with logarithms (n, K), in nats."""
    return -(log_p.exp() * log_p).sum(1).mean()


def mean_entropy(log_p: Tensor) -> Tensor:
    """Return the entropy of the mean of predictions with logarithms (n, K), at most log K nats."""
    mean = log_p.logsumexp(0) - math.log(len(log_p))
    return -(mean.exp() * mean).sum()


class CatGAN(Game):
    """A classifier sure of images, in equal shares, and unsure of generated ones. Springenberg 2016, eq. 7.

    Of the suite's critic the sizes are taken; as in the paper, each layer but the last has noise, batch norm and a
    leaky ReLU. The bias of the mean's entropy asks for batches of some 100 images at K = 20. After
    training `finalize` gives the norms of D the moments of real images without noise, which it is asked about.
    """

    name = "catgan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {"catgan": {}, "catgan-2016": {"backbone": DENSE}, "catgan-conv": CONV}
    published = dict.fromkeys(
        ("catgan", "catgan-2016"),
        (
            Published(
                *("mnist", "cluster-purity", 0.903, math.nan),
                "Springenberg 2016, unsupervised PI-MNIST, also in Dilokthanakul et al. 2016, Table 1",
                comparable=False,
                note="majority vote, K = 20, error 9.70 %; its images and number of runs are not known here",
            ),
        ),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if config.networks == "backbone":
            self.G = config.backbone.make_generator(config.latent, data.shape)
            blocks = backbone_blocks(config, data.shape)
        else:
            if not data.bounded or data.shape[1] != data.shape[2] or data.shape[1] % 4:
                raise ValueError(f"networks=conv-2016 needs square images of size 4, 8, 12, ..., got {data.shape}")
            self.G = conv_generator(config.latent, data.shape)
            blocks = conv_blocks(data.shape, config.clusters)
        self.D = Classifier(blocks, data.shape, config.blur)

    def noise(self) -> dict[str, Noise]:
        blurs = {name: Normal(self.D.mask_size, training_only=True) for name in ("blur_real", "blur_fake")}
        return {"z": Uniform(self.config.latent), **blurs}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def cluster(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the categories, without noise, (n, clusters)."""
        return self.D(x).log_softmax(1)

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        real = self.D(x, batch["blur_real"]).log_softmax(1)
        fake = self.D(batch["fake"], batch["blur_fake"]).log_softmax(1)
        return sample_entropy(real) - self.config.balance * mean_entropy(real) - sample_entropy(fake)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = self.D(batch["fake"], batch["blur_fake"]).log_softmax(1)
        return sample_entropy(fake) - self.config.balance * mean_entropy(fake)

    def finalize(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Give the norms of D the moments of the training images."""
        recalibrate_batch_norm(self.D, self.D, images)
