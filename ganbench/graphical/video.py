"""Networks of sequences of frames: a state that moves, what recognises it, and critics of all frames together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganbench.distributions.noise import Normal
from ganbench.graphical.nodes import dense
from ganbench.layers.blocks import LeakyReLU
from ganbench.layers.networks import Backbone


class Transition(nn.Module):
    """The state that follows another: v + net(v, epsilon) with normal epsilon. Li et al. 2018, released code.

    Args:
        size: of a state.
        width: of the two hidden layers.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.net, self.law = dense(2 * size, width, width, size), Normal(size)

    def forward(self, state: Tensor, draw: Tensor) -> Tensor:
        return state + self.net(torch.cat([state, draw], 1))


class FrameEncoder(nn.Module):
    """A vector given frames and other vectors: a code of the frames, plus what layers make of it and the others.

    Args:
        encoder: from the frames, stacked as channels, to codes (n, size).
        size: of the vector.
        others: sizes of the vectors that come before the frames; without any the code is the answer.
        width: of the two hidden layers.
    """

    def __init__(self, encoder: nn.Module, size: int, others: Sequence[int], width: int) -> None:
        super().__init__()
        self.encoder, self.others = encoder, tuple(others)
        self.correct = dense(size + sum(others), width, width, size) if others else None

    def forward(self, *values: Tensor | None) -> Tensor:
        """Return the vector (n, size); other vectors that are None count as zeros."""
        code = self.encoder(torch.cat([frame for frame in values[len(self.others) :] if frame is not None], 1))
        if self.correct is None:
            return code
        pairs = zip(values, self.others, strict=False)
        others = [code.new_zeros(len(code), size) if value is None else value for value, size in pairs]
        return code + self.correct(torch.cat([code, *others], 1))


class SequenceCritic(nn.Module):
    """Network of a sequence with all its latent variables: features of the frames meet one layer on the rest.

    Args:
        trunk: from frames (n, T, c, h, w) to features (n, features).
        frames: T, c, h, w.
        rest: size of all other variables.
        width: of the layers that see these.
    """

    def __init__(self, trunk: nn.Module, frames: tuple[int, ...], rest: int, width: int) -> None:
        super().__init__()
        with torch.no_grad():
            features = trunk.eval()(torch.zeros(1, *frames)).shape[1]
        self.trunk, self.side = trunk.train(), nn.Sequential(nn.Linear(rest, width), LeakyReLU())
        self.joint = dense(features + width, width, 1)

    def forward(self, *values: Tensor) -> Tensor:
        frames = self.trunk(torch.stack([value for value in values if value.ndim > 2], 1))
        rest = self.side(torch.cat([value for value in values if value.ndim == 2], 1))
        return self.joint(torch.cat([frames, rest], 1))


class EachFrame(nn.Module):
    """A network's features of every frame, side by side: from (n, T, c, h, w) to (n, T * features)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> Tensor:
        return self.net(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).flatten(1)


def time_strides(frames: int, layers: int) -> list[int]:
    """Return strides, powers of 2, that lead from so many frames to one at an even pace."""
    strides: list[int] = []
    for layer in range(1, layers + 1):
        goal, stride = int(frames ** (1 - layer / layers) + 1e-9), 1
        while math.ceil(frames / math.prod([*strides, stride])) > goal:
            stride *= 2
        strides.append(stride)
    return strides


def trunk_3d(frames: tuple[int, ...], channels: int) -> nn.Sequential:
    """Return 3-D convolutions, kernels of 4, on T, c, h, w; they halve the frames until they are at most 4 wide.

    The released code's strides in time are 2, 1, 2, 1 for 4 frames, 2, 2, 2, 2 for 16 and 4, 2, 2, 2 for 31.
    """
    time, inputs, *sides = frames
    layers: list[nn.Module] = []
    for stride in time_strides(time, max(1, math.ceil(math.log2(max(sides) / 4)))):
        sizes, strides = (time, *sides), (stride, 2, 2)
        padding = [max(0, (math.ceil(n / s) - 1) * s + 4 - n) for n, s in zip(sizes, strides, strict=True)]
        depth, height, width = ((total // 2, total - total // 2) for total in padding)
        layers += [
            nn.ConstantPad3d((*width, *height, *depth), 0.0),
            nn.Conv3d(inputs, channels, 4, strides),
            LeakyReLU(),
        ]
        time, *sides = (math.ceil(n / s) for n, s in zip(sizes, strides, strict=True))
        inputs, channels = channels, 2 * channels
    return nn.Sequential(Channels(), *layers, nn.Flatten())


class Channels(nn.Module):
    """From (n, T, c, h, w) to (n, c, T, h, w)."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames.transpose(1, 2)


def each_frame(backbone: Backbone, frames: tuple[int, ...], features: int) -> nn.Sequential:
    """Return the backbone's encoder of single frames, which gives so many features of each."""
    return nn.Sequential(EachFrame(backbone.make_encoder(frames[1:], features)), LeakyReLU())


def stacked_frames(backbone: Backbone, frames: tuple[int, ...]) -> nn.Sequential:
    """Return the backbone's critic of all frames, stacked as channels, without its head."""
    critic = backbone.make_encoder((frames[0] * frames[1], *frames[2:]), 1)
    critic.blocks[-1] = nn.Flatten()
    return nn.Sequential(nn.Flatten(1, 2), critic)
