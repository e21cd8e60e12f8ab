"""The two backbones: frozen records of sizes that build networks for any image shape.

A backbone makes a generator (latent -> image) and a critic (image -> numbers), so that a suite compares objectives
on the same networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from ganbench.layers import (
    Activation,
    BatchNorm1d,
    BatchNorm2d,
    Critic,
    Generator,
    LeakyReLU,
    Spectral,
    activation,
)
from ganbench.record import Count, Keep, NonNegative, Positive, Record


def _initialise(module: nn.Module, scale: float, law: Literal["uniform", "normal"]) -> None:
    """Draw all weights from U(-scale, scale) or N(0, scale^2), biases 0, norm gains N(1, scale^2) or 1."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if law == "uniform":
                nn.init.uniform_(part.weight, -scale, scale)
            else:
                nn.init.normal_(part.weight, 0.0, scale)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d) and law == "normal":
            nn.init.normal_(part.weight, 1.0, scale)


@dataclass(frozen=True)
class MLP(Record):
    """Fully connected networks at the scale of Goodfellow et al. 2014 and f-GAN."""

    kind: Literal["mlp"] = "mlp"
    "always mlp"
    generator: tuple[Count, ...] = (1024, 1024)
    "hidden widths of the generator"
    critic: tuple[Count, ...] = (240, 240)
    "hidden widths of the critic and encoder"
    generator_activation: Activation = "relu"
    "activation of the generator"
    critic_activation: Activation = "leaky-relu"
    "activation of the critic"
    generator_norm: bool = True
    "batch norm after each hidden layer of the generator"
    pieces: Count = 5
    "linear pieces per maxout unit"
    keep: tuple[Keep, ...] = ()
    "keep probabilities of dropout at the critic's input and hidden layers; () is no dropout"
    generator_init: NonNegative = 0.0
    "weights of the generator are U(-init, init); 0 keeps the library's default"
    critic_init: NonNegative = 0.0
    "weights of the critic are U(-init, init); 0 keeps the library's default"
    zero_one: bool = False
    "show the critic pixels in [0, 1]"

    def make_generator(self, latent: int, shape: tuple[int, ...]) -> Generator:
        """Return a network from (n, latent) to (n, *shape) in [-1, 1]."""
        layers: list[nn.Module] = []
        inputs = latent
        for width in self.generator:
            # A bias before a norm has no gradient but rounding noise, which Adam would turn into steps.
            layers.append(nn.Linear(inputs, width, bias=not self.generator_norm))
            if self.generator_norm:
                layers.append(BatchNorm1d(width))
            layers.append(activation(self.generator_activation))
            inputs = width
        layers.append(nn.Linear(inputs, math.prod(shape)))
        network = Generator(nn.Sequential(*layers), shape)
        if self.generator_init:
            _initialise(network, self.generator_init, "uniform")
        return network

    def make_critic(self, shape: tuple[int, ...], outputs: int = 1, spectral: bool = False) -> Critic:
        """Return a network from (n, *shape) to (n, outputs) in which no image sees another."""
        pieces = self.pieces if self.critic_activation == "maxout" else 1
        widths = (math.prod(shape), *self.critic)
        blocks: list[nn.Module] = []
        for inputs, width in zip(widths, self.critic, strict=False):
            layer = nn.Linear(inputs, width * pieces)
            blocks.append(
                nn.Sequential(
                    nn.Flatten(),
                    Spectral(layer) if spectral else layer,
                    activation(self.critic_activation, pieces),
                )
            )
        head = nn.Linear(widths[-1], outputs)
        blocks.append(nn.Sequential(nn.Flatten(), Spectral(head) if spectral else head))
        network = Critic(blocks, self.keep, widths[: len(self.keep)], self.zero_one)
        if self.critic_init:
            _initialise(network, self.critic_init, "uniform")
        return network


@dataclass(frozen=True)
class Conv(Record):
    """DCGAN, Radford et al. 2016: 4x4 kernels of stride 2 that halve the image while it is even and above 4."""

    kind: Literal["conv"] = "conv"
    "always conv"
    width: Count = 64
    "channels of the layer next to the image; each layer away from it doubles them"
    generator_norm: bool = True
    "batch norm in the generator, except at the output"
    critic_norm: bool = False
    "batch norm in the critic, except at the input; not for games with a gradient penalty"
    init: Positive = 0.02
    "standard deviation of all weights"

    def _sizes(self, shape: tuple[int, ...]) -> list[int]:
        sizes = [shape[-1]]
        while sizes[-1] > 4 and sizes[-1] % 2 == 0:
            sizes.append(sizes[-1] // 2)
        if len(shape) != 3 or shape[1] != shape[2] or len(sizes) < 2:
            raise ValueError(f"the conv backbone needs square images of even size > 4, got shape {shape}")
        return sizes

    def make_generator(self, latent: int, shape: tuple[int, ...]) -> Generator:
        """Return a network from (n, latent) to (n, *shape) in [-1, 1]."""
        sizes = self._sizes(shape)
        channels = [shape[0], *(self.width * 2**i for i in range(len(sizes) - 1))]
        start = channels[-1]
        norm = self.generator_norm
        layers: list[nn.Module] = [
            nn.Linear(latent, start * sizes[-1] ** 2, bias=not norm),
            nn.Unflatten(1, (start, sizes[-1], sizes[-1])),
            *([BatchNorm2d(start)] if norm else []),
            nn.ReLU(),
        ]
        for depth in reversed(range(len(sizes) - 1)):
            inputs, width, last = channels[depth + 1], channels[depth], depth == 0
            layers.append(nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=last or not norm))
            if not last:
                layers += [*([BatchNorm2d(width)] if norm else []), nn.ReLU()]
        layers.append(nn.Flatten())
        network = Generator(nn.Sequential(*layers), shape)
        _initialise(network, self.init, "normal")
        return network

    def make_critic(self, shape: tuple[int, ...], outputs: int = 1, spectral: bool = False) -> Critic:
        """Return a network from (n, *shape) to (n, outputs)."""
        sizes = self._sizes(shape)
        blocks: list[nn.Module] = []
        inputs = shape[0]
        for depth in range(len(sizes) - 1):
            width = self.width * 2**depth
            normed = self.critic_norm and depth > 0
            layer = nn.Conv2d(inputs, width, 4, 2, 1, bias=not normed)
            parts: list[nn.Module] = [Spectral(layer) if spectral else layer]
            parts += [BatchNorm2d(width)] if normed else []
            blocks.append(nn.Sequential(*parts, LeakyReLU()))
            inputs = width
        head = nn.Linear(inputs * sizes[-1] ** 2, outputs)
        blocks.append(nn.Sequential(nn.Flatten(), Spectral(head) if spectral else head))
        network = Critic(blocks)
        _initialise(network, self.init, "normal")
        return network


Backbone = Annotated[MLP | Conv, Field(discriminator="kind")]
