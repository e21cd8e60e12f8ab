"""Layers that survive vmap over seeds: maxout, two norms of weights, and the frames of generator and critic."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, linear

Activation = Literal["relu", "leaky-relu", "elu", "tanh", "softplus", "maxout"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}


class BatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation in the precision of its weights: moments taken in bfloat16 would be coarse."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation in the precision of its weights: moments taken in bfloat16 would be coarse."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class Maxout(nn.Module):
    """Maximum over groups of `pieces` linear units. Goodfellow et al. 2013."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(2)


class Spectral(nn.Module):
    """A linear or convolutional layer whose weight is divided by its largest singular value.

    One power iteration per training pass; u and v count as constants. Miyato et al. 2018, Algorithm 1.

    Args:
        layer: nn.Linear or nn.Conv2d; a kernel is taken as the matrix (out, in * height * width).
    """

    u: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("u", nn.functional.normalize(torch.randn(layer.weight.shape[0]), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = nn.functional.normalize(matrix.T @ self.u, dim=0, eps=1e-12)
            u = nn.functional.normalize(matrix @ v, dim=0, eps=1e-12)
            if self.training:
                self.u.copy_(u)
        weight = weight / (u @ (matrix @ v))
        if isinstance(self.layer, nn.Conv2d):
            return conv2d(x, weight, self.layer.bias, self.layer.stride, self.layer.padding)
        return linear(x, weight, self.layer.bias)


class WeightNorm(nn.Module):
    """A linear layer whose rows are gain * direction / |direction|. Salimans and Kingma 2016, eq. 2.

    Args:
        layer: gives the directions and the bias; all gains start at 1.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.direction, self.bias = layer.weight, layer.bias
        self.gain = nn.Parameter(torch.ones(layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.gain[:, None] * nn.functional.normalize(self.direction, dim=1), self.bias)


class LeakyReLU(nn.Module):
    """max(x, 0.2 x), as every critic here uses it."""

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, 0.2)


def activation(name: Activation, pieces: int = 1) -> nn.Module:
    """Return the named activation; "maxout" takes `pieces` inputs per output."""
    if name == "maxout":
        return Maxout(pieces)
    return LeakyReLU() if name == "leaky-relu" else _ACTIVATIONS[name]()


def one_hot(y: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return (n, classes) zeros and ones of the dtype of `like` that mark the classes y, int64 (n,)."""
    # nn.functional.one_hot reads the largest class, which vmap forbids.
    return (y[:, None] == torch.arange(classes, device=y.device)).to(like.dtype)


class Generator(nn.Module):
    """Layers from a latent vector to an image in [-1, 1], or to a vector of any numbers.

    Args:
        layers: maps (n, latent) to (n, pixels) or (n, *shape), before the output function.
        shape: (channels, height, width) of an image, (d,) of a vector.
    """

    def __init__(self, layers: nn.Sequential, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers, self.shape = layers, shape

    def logits(self, z: Tensor) -> Tensor:
        """Return (n, *shape) numbers l with image = 2 sigmoid(l) - 1 = tanh(l / 2); a vector is l itself."""
        return self.layers(z).unflatten(1, self.shape) if len(self.shape) > 1 else self.layers(z)

    def forward(self, z: Tensor) -> Tensor:
        logits = self.logits(z)
        return torch.tanh(logits / 2) if len(self.shape) > 1 else logits


class Critic(nn.Module):
    """Layers from an image to numbers, with dropout whose masks come from outside.

    Args:
        blocks: modules applied in turn to the flattened or unflattened image; the last is the head.
        dropout: keep probability of the inputs of each block, or () for none.
        widths: size of the inputs of each block, in the order of `dropout`.
        zero_one: whether the blocks see pixels in [0, 1] instead of [-1, 1].
    """

    def __init__(
        self,
        blocks: list[nn.Module],
        dropout: tuple[float, ...] = (),
        widths: tuple[int, ...] = (),
        zero_one: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.dropout, self.widths, self.zero_one = dropout, widths, zero_one

    @property
    def mask_size(self) -> int:
        """Number of uniform draws per image that the dropout masks need."""
        return sum(self.widths)

    def forward(self, x: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Map (n, *shape) to (n, outputs); `uniform` (n, mask_size) in [0, 1) switches dropout on."""
        return self._apply_blocks(x, len(self.blocks), uniform)

    def features(self, x: Tensor) -> Tensor:
        """Return what the head sees of images (n, *shape), (n, features)."""
        return self._apply_blocks(x, len(self.blocks) - 1, None).flatten(1)

    def _apply_blocks(self, x: Tensor, count: int, uniform: Tensor | None) -> Tensor:
        x = (x + 1) / 2 if self.zero_one else x
        drops = uniform.split(self.widths, dim=1) if uniform is not None else ()
        for index, block in enumerate(self.blocks[:count]):
            if index < len(drops):
                keep = self.dropout[index]
                x = x.flatten(1) * (drops[index] < keep) / keep
            x = block(x)
        return x
