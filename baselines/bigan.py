"""Bidirectional GAN. Donahue, Krähenbühl, Darrell 2017, arXiv:1605.09782."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganbench.game import (
    MLP,
    Adam,
    Count,
    DataSpec,
    Game,
    Noise,
    NonNegative,
    Player,
    Published,
    Uniform,
    UserError,
)
from ganbench.game import Config as GameConfig
from ganbench.graphical import Joint
from ganbench.losses import gaussian_prior, pair_critic, pair_generator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 50
    "size of z, uniform on (-1, 1)"
    networks: Literal["backbone", "skip"] = "backbone"
    "those of the backbone, or the paper's two layers of its first widths, where z skips to the second"
    weight_decay: NonNegative = 0.0
    "coefficient of half the sum of squared weights in both losses"


class Skip(nn.Module):
    """The paper's networks: W3 a(norm(W2 a(norm(W1 x)) + V z)), without biases, norms without gains.

    Args:
        inputs, width, outputs: sizes of x, of both hidden layers and of what comes out.
        skip: size of z, which stays out if it is 0.
        norm_first: whether the first layer is normed too.
        slope: of the activation a below 0.
    """

    def __init__(self, inputs: int, width: int, outputs: int, skip: int, norm_first: bool, slope: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width, bias=False), nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, outputs, bias=False)
        self.skip = nn.Linear(skip, width, bias=False) if skip else None
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=1e-8, affine=False) for _ in range(1 + norm_first))
        self.slope = slope
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.0, 0.02)

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Return (n, outputs) for x (n, inputs) and z (n, skip)."""
        hidden = self.first(x)
        if len(self.norms) > 1:
            hidden = self.norms[1](hidden)
        hidden = self.second(leaky_relu(hidden, self.slope))
        if self.skip is not None:
            hidden = hidden + self.skip(z)
        return self.head(leaky_relu(self.norms[0](hidden), self.slope))


class BiGAN(Game):
    """GAN of pairs with a deterministic encoder and uniform codes. Donahue et al. 2017, eq. 2 and section 3.4.

    The released code keeps the rate for half of the rounds and lets it fall exponentially to 1 %, which the
    schedules here cannot; it renews the running moments by 1,000 batches before measuring.
    """

    name = "bigan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G", "E"), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {
        "bigan": {},
        "bigan-2017": {
            "backbone": MLP(generator=(1024, 1024), critic=(1024, 1024)),
            "networks": "skip",
            "weight_decay": 2.5e-5,
        },
    }
    published = {
        "bigan-2017": (
            Published(
                "mnist",
                "knn-accuracy",
                0.9739,
                math.nan,
                "Donahue et al. 2017, table of 1-NN accuracies on permutation-invariant MNIST",
                comparable=False,
                note="features are the encoder's last hidden layer there, its codes here; 60,000 training images",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config(simultaneous=True)) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone, latent, pixels = config.backbone, config.latent, data.mean.numel()
        self.G: nn.Module
        self.E: nn.Module
        self.D: nn.Module
        if config.networks == "backbone":
            self.G = backbone.make_generator(latent, data.shape)
            self.E = backbone.make_encoder(data.shape, latent)
            self.D = Joint(backbone, [data.shape, (latent,)], (512, 512), (512, 512))
            return
        if not isinstance(backbone, MLP):
            raise ValueError("the skip networks take their widths from an mlp backbone")
        wide, narrow = backbone.generator[0], backbone.critic[0]
        self.G = Skip(latent, wide, pixels, skip=latent, norm_first=True, slope=0.0)
        self.E = Skip(pixels, narrow, latent, skip=0, norm_first=False, slope=0.2)
        self.D = critic = Skip(pixels, narrow, 1, skip=latent, norm_first=False, slope=0.2)
        nn.init.zeros_(critic.head.weight)

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        raise UserError("feature_matching needs a critic of images alone; that of bigan judges pairs")

    def noise(self) -> dict[str, Noise]:
        return {"z": Uniform(self.config.latent, low=-1.0, high=1.0)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.decode(noise["z"])

    def decode(self, codes: Tensor) -> Tensor:
        """Return G of the codes (n, latent) in (-1, 1), (n, *shape)."""
        if self.config.networks == "backbone":
            return self.G(codes)
        logits = self.G(codes, codes).unflatten(1, self.data.shape)
        return torch.tanh(logits / 2) if self.data.bounded else logits

    def flat(self, x: Tensor) -> Tensor:
        """Return x as the skip networks see it, images with pixels in [0, 1]; without biases that matters."""
        return ((x + 1) / 2 if self.data.bounded else x).flatten(1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes 2 sigmoid(E(x)) - 1, (n, latent)."""
        return torch.tanh(self.E(x if self.config.networks == "backbone" else self.flat(x)) / 2)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return G(E(x)), (n, *shape)."""
        return self.decode(self.encode(x))

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def judge(self, x: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits of (x, E(x)) and of (G(z), z), (n, 1) each; each kind is normed by itself."""
        code, fake, z = self.encode(x), batch["fake"], batch["z"]
        if self.config.networks == "backbone":
            return self.D(x, code), self.D(fake, z)
        return self.D(self.flat(x), code), self.D(self.flat(fake), z)

    def decay(self, *networks: nn.Module) -> Tensor | float:
        """Return the penalty of the networks' weights, which the released Adam takes into its moments too."""
        rate = self.config.weight_decay
        return gaussian_prior([p for net in networks for p in net.parameters()], rate) if rate else 0.0

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return 0.5 * pair_critic(*self.judge(x, batch)) + self.decay(self.D)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return 0.5 * pair_generator(*self.judge(x, batch)) + self.decay(self.G, self.E)
