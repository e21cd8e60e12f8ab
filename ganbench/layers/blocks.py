"""Layers that survive vmap over seeds: norms, maxout, minibatches, and the frames of generator and critic."""

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


class ReferenceNorm(nn.Module):
    """Batch normalisation by the moments of a reference batch. Salimans et al. 2016, section 3.5.

    The input is the reference batch followed by the batch; both come out, the reference by its own moments. There
    are no running moments: training and sampling are the same.

    Args:
        channels: size of axis 1.
        count: size R of the reference batch.
        virtual: whether an example's own moments join those of the reference with weight 1 / (R + 1).
    """

    def __init__(self, channels: int, count: int, virtual: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.count, self.virtual, self.eps = count, virtual, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        cells = x.to(self.weight.dtype).reshape(*x.shape[:2], -1)
        reference = cells[: self.count]
        mean = reference.mean((0, 2), keepdim=True)
        variance = (reference - mean).square().mean((0, 2), keepdim=True)
        if self.virtual:
            share = 1 / (self.count + 1)
            own = cells[self.count :].mean(2, keepdim=True)
            gap = own - mean
            spread = (cells[self.count :] - own).square().mean(2, keepdim=True)
            # E[x^2] - mean^2 of the mixture, written without its cancellation.
            mixed = share * spread + (1 - share) * variance + share * (1 - share) * gap.square()
            mean = torch.cat([mean.expand(self.count, -1, -1), mean + share * gap])
            variance = torch.cat([variance.expand(self.count, -1, -1), mixed])
        normal = (cells - mean) * (variance + self.eps).rsqrt()
        return (normal * self.weight[:, None] + self.bias[:, None]).reshape(x.shape)


class MinibatchDiscrimination(nn.Module):
    """Features, and how close those of the other examples of the batch come. Salimans et al. 2016, section 3.2.

    With M_i = T f_i of shape (kernels, dims), o(i)_b = sum over j != i of exp(-|M_ib - M_jb|_1) joins f_i.

    Args:
        project: the linear layer T without bias, to kernels * dims numbers.
        dims: numbers per kernel.
    """

    def __init__(self, project: nn.Module, dims: int) -> None:
        super().__init__()
        self.project, self.dims = project, dims

    def forward(self, features: Tensor) -> Tensor:
        rows = self.project(features).unflatten(1, (-1, self.dims))
        distances = (rows[:, None] - rows[None]).abs().sum(3)
        return torch.cat([features, (-distances).exp().sum(1) - 1], 1)  # less the 1 of i itself


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
        learned: whether the gains are parameters; else they are buffers.
    """

    gain: Tensor

    def __init__(self, layer: nn.Linear, learned: bool = True) -> None:
        super().__init__()
        self.direction, self.bias = layer.weight, layer.bias
        gain = torch.ones(layer.out_features)
        if learned:
            self.gain = nn.Parameter(gain)
        else:
            self.register_buffer("gain", gain)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.gain[:, None] * nn.functional.normalize(self.direction, dim=1), self.bias)


class LeakyReLU(nn.Module):
    """max(x, slope x)."""

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.slope)


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
        reference: latent vectors (R, latent) that go through the layers ahead of each batch, for ReferenceNorm.
    """

    reference: Tensor | None

    def __init__(self, layers: nn.Sequential, shape: tuple[int, ...], reference: Tensor | None = None) -> None:
        super().__init__()
        self.layers, self.shape = layers, shape
        self.register_buffer("reference", reference)

    def logits(self, z: Tensor) -> Tensor:
        """Return (n, *shape) numbers l with image = 2 sigmoid(l) - 1 = tanh(l / 2); a vector is l itself."""
        both = z if self.reference is None else torch.cat([self.reference, z])
        out = self.layers(both)[len(both) - len(z) :]
        return out.unflatten(1, self.shape) if len(self.shape) > 1 else out

    def forward(self, z: Tensor) -> Tensor:
        logits = self.logits(z)
        return torch.tanh(logits / 2) if len(self.shape) > 1 else logits


class Network(nn.Module):
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
        """Return what the head sees of images (n, *shape), each by itself, (n, features)."""
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
