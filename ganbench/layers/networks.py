"""The two backbones: frozen records of sizes that build networks for any image shape.

A backbone makes a generator (latent -> image) and a critic (image -> numbers), so that a suite compares objectives
on the same networks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from ganbench.layers.blocks import (
    Activation,
    BatchNorm1d,
    BatchNorm2d,
    Generator,
    LeakyReLU,
    MinibatchDiscrimination,
    Network,
    ReferenceNorm,
    Spectral,
    activation,
)
from ganbench.records import Count, NonNegative, Positive, Probability, Record

Norm = Literal["batch", "reference", "virtual", "none"]
InitLaw = Literal["uniform", "normal", "orthogonal"]
NonNegativeInt = Annotated[int, Field(ge=0)]


def _initialise(module: nn.Module, scale: float, law: InitLaw, gains: bool = False) -> None:
    """Draw weights by the law of that scale, and gains of image norms from N(1, scale^2); biases become 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if law == "uniform":
                nn.init.uniform_(part.weight, -scale, scale)
            elif law == "normal":
                nn.init.normal_(part.weight, 0.0, scale)
            else:
                nn.init.orthogonal_(part.weight, scale)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, BatchNorm2d | ReferenceNorm) and gains:
            nn.init.normal_(part.weight, 1.0, scale)


@dataclass(frozen=True)
class _Backbone(Record):
    """What both backbones have."""

    generator_norm: Norm = "batch"
    "norm in the generator, except at the output: by the batch, a fixed reference batch, or this and the example"
    reference: Count = 64
    "size of the reference batch"
    minibatch_kernels: NonNegativeInt = 0
    "kernels of the critic's minibatch discrimination; 0 is none; not for games with a gradient penalty"
    minibatch_dims: Count = 5
    "numbers per kernel"
    critic_norm: bool = False
    "batch norm in the critic, except at the input; not for games with a gradient penalty"
    encoder_norm: bool = False
    "batch norm in encoders, except at the input"

    @property
    def critic_uses_batch_statistics(self) -> bool:
        """Whether what the critic says of an example depends on the others of the batch."""
        return self.critic_norm or self.minibatch_kernels > 0

    def make_critic(self, shape: tuple[int, ...], outputs: int = 1, spectral: bool = False) -> Network:
        """Return a network from (n, *shape) to (n, outputs)."""
        raise NotImplementedError

    def make_encoder(self, shape: tuple[int, ...], outputs: int) -> Network:
        """Return the critic's network with the encoder's norms, from (n, *shape) to (n, outputs)."""
        return replace(self, minibatch_kernels=0, critic_norm=self.encoder_norm).make_critic(shape, outputs)

    def _norm(self, channels: int, images: bool) -> list[nn.Module]:
        """Return the norm that follows a layer of the generator, or nothing."""
        if self.generator_norm == "none":
            return []
        if self.generator_norm == "batch":
            return [BatchNorm2d(channels) if images else BatchNorm1d(channels)]
        return [ReferenceNorm(channels, self.reference, virtual=self.generator_norm == "virtual")]

    def _frame(self, layers: list[nn.Module], latent: int, shape: tuple[int, ...]) -> Generator:
        """Return the generator of these layers, with a reference batch if its norms need one."""
        needed = self.generator_norm in ("reference", "virtual")
        reference = torch.randn(self.reference, latent) if needed else None
        return Generator(nn.Sequential(*layers), shape, reference)

    def _head(self, features: int, outputs: int, spectral: bool) -> nn.Module:
        """Return the critic's last block, from features of any shape to (n, outputs)."""
        kernels, first = self.minibatch_kernels, []
        if kernels:
            rows = nn.Linear(features, kernels * self.minibatch_dims, bias=False)
            first = [MinibatchDiscrimination(Spectral(rows) if spectral else rows, self.minibatch_dims)]
        layer = nn.Linear(features + kernels, outputs)
        return nn.Sequential(nn.Flatten(), *first, Spectral(layer) if spectral else layer)


@dataclass(frozen=True)
class MLP(_Backbone):
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
    pieces: Count = 5
    "linear pieces per maxout unit"
    keep: tuple[Probability, ...] = ()
    "keep probabilities of dropout at the critic's input and hidden layers; () is no dropout"
    generator_init: NonNegative = 0.0
    "scale of the generator's weights; 0 keeps the library's default"
    critic_init: NonNegative = 0.0
    "scale of the critic's weights; 0 keeps the library's default"
    init_law: InitLaw = "uniform"
    "law of the weights: U(-scale, scale), N(0, scale^2), or orthogonal with that gain"
    zero_one: bool = False
    "show the critic pixels in [0, 1]"

    def make_generator(self, latent: int, shape: tuple[int, ...]) -> Generator:
        """Return a network from (n, latent) to (n, *shape) in [-1, 1]."""
        layers: list[nn.Module] = []
        inputs = latent
        for width in self.generator:
            # A bias before a norm has no gradient but rounding noise, which Adam would turn into steps.
            layers.append(nn.Linear(inputs, width, bias=self.generator_norm == "none"))
            layers += self._norm(width, images=False)
            layers.append(activation(self.generator_activation))
            inputs = width
        layers.append(nn.Linear(inputs, math.prod(shape)))
        network = self._frame(layers, latent, shape)
        if self.generator_init:
            _initialise(network, self.generator_init, self.init_law)
        return network

    def make_critic(self, shape: tuple[int, ...], outputs: int = 1, spectral: bool = False) -> Network:
        """Return a network from (n, *shape) to (n, outputs)."""
        pieces = self.pieces if self.critic_activation == "maxout" else 1
        widths = (math.prod(shape), *self.critic)
        blocks: list[nn.Module] = []
        for depth, (inputs, width) in enumerate(zip(widths, self.critic, strict=False)):
            normed = self.critic_norm and depth > 0
            layer = nn.Linear(inputs, width * pieces, bias=not normed)
            parts: list[nn.Module] = [nn.Flatten(), Spectral(layer) if spectral else layer]
            parts += [BatchNorm1d(width * pieces)] if normed else []
            blocks.append(nn.Sequential(*parts, activation(self.critic_activation, pieces)))
        blocks.append(self._head(widths[-1], outputs, spectral))
        network = Network(blocks, self.keep, widths[: len(self.keep)], self.zero_one)
        if self.critic_init:
            _initialise(network, self.critic_init, self.init_law)
        return network


@dataclass(frozen=True)
class Conv(_Backbone):
    """DCGAN, Radford et al. 2016: layers of stride 2, by default until the image is odd or at most 4 wide."""

    kind: Literal["conv"] = "conv"
    "always conv"
    width: Count = 64
    "channels of the layer next to the image; each layer away from it doubles them"
    critic_width: NonNegativeInt = 0
    "channels of the critic's layer next to the image; 0 is width"
    kernel: Literal[3, 4, 5] = 4
    "side of the kernels; 4 takes even sizes only, 3 and 5 go from h to h / 2 rounded up"
    layers: NonNegativeInt = 0
    "number of layers of stride 2 in each network; 0 halves the image while it is even and above 4"
    image_conv: bool = False
    "end the generator by a 3x3 convolution to the image's channels; the layer before it has its size"
    critic_slope: NonNegative = 0.2
    "slope of the critic's leaky ReLU below 0"
    init: Positive = 0.02
    "standard deviation of all weights"

    def _sizes(self, shape: tuple[int, ...]) -> list[int]:
        if len(shape) == 4:
            raise ValueError(f"the conv backbone takes single images, not sequences {shape}; take backbone mlp")
        sizes = [shape[-1]]
        while len(sizes) <= self.layers if self.layers else sizes[-1] > 4 and sizes[-1] % 2 == 0:
            sizes.append((sizes[-1] + 1) // 2)
        if len(shape) != 3 or shape[1] != shape[2] or len(sizes) < 2:
            raise ValueError(f"the conv backbone needs square images of even size > 4, got shape {shape}")
        if sizes[-2] < 2 or (self.kernel == 4 and any(size % 2 for size in sizes[:-1])):
            raise ValueError(
                f"{self.layers} conv layers with kernel {self.kernel} cannot halve images of size {sizes[0]}; "
                "set backbone.layers to fewer or backbone.kernel to 3 or 5"
            )
        return sizes

    def make_generator(self, latent: int, shape: tuple[int, ...]) -> Generator:
        """Return a network from (n, latent) to (n, *shape) in [-1, 1]."""
        sizes = self._sizes(shape)
        widths = [self.width * 2**i for i in range(len(sizes))]
        channels = widths if self.image_conv else [shape[0], *widths[:-1]]
        start, padding = channels[-1], (self.kernel - 1) // 2
        layers: list[nn.Module] = [
            nn.Linear(latent, start * sizes[-1] ** 2, bias=self.generator_norm == "none"),
            nn.Unflatten(1, (start, sizes[-1], sizes[-1])),
            *self._norm(start, images=True),
            nn.ReLU(),
        ]
        for depth in reversed(range(len(sizes) - 1)):
            inputs, width, last = channels[depth + 1], channels[depth], depth == 0 and not self.image_conv
            more = sizes[depth] - ((sizes[depth + 1] - 1) * 2 - 2 * padding + self.kernel)
            bias = last or self.generator_norm == "none"
            layers.append(nn.ConvTranspose2d(inputs, width, self.kernel, 2, padding, more, bias=bias))
            if not last:
                layers += [*self._norm(width, images=True), nn.ReLU()]
        if self.image_conv:
            layers.append(nn.Conv2d(channels[0], shape[0], 3, padding=1))
        layers.append(nn.Flatten())
        network = self._frame(layers, latent, shape)
        _initialise(network, self.init, "normal", gains=True)
        return network

    def make_critic(self, shape: tuple[int, ...], outputs: int = 1, spectral: bool = False) -> Network:
        """Return a network from (n, *shape) to (n, outputs)."""
        sizes = self._sizes(shape)
        blocks: list[nn.Module] = []
        inputs = shape[0]
        for depth in range(len(sizes) - 1):
            width = (self.critic_width or self.width) * 2**depth
            normed = self.critic_norm and depth > 0
            layer = nn.Conv2d(inputs, width, self.kernel, 2, (self.kernel - 1) // 2, bias=not normed)
            parts: list[nn.Module] = [Spectral(layer) if spectral else layer]
            parts += [BatchNorm2d(width)] if normed else []
            blocks.append(nn.Sequential(*parts, LeakyReLU(self.critic_slope)))
            inputs = width
        blocks.append(self._head(inputs * sizes[-1] ** 2, outputs, spectral))
        network = Network(blocks)
        _initialise(network, self.init, "normal", gains=True)
        return network


Backbone = Annotated[MLP | Conv, Field(discriminator="kind")]
