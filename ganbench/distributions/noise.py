"""Noise laws: how the random inputs that a game declares are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Noise:
    """A noise law: the shape of one draw and how to fill a tensor with independent draws.

    Args:
        shape: of one draw.
        training_only: sampling does without it.
        per_step: drawn once per step instead of once per image, e.g. for parameters; training only.
    """

    def __init__(self, *shape: int, training_only: bool = False, per_step: bool = False) -> None:
        self.shape, self.training_only, self.per_step = shape, training_only or per_step, per_step

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Fill `out`, of shape (n, *shape), in place from the generator and return it."""
        raise NotImplementedError

    def cells(self, n: int) -> tuple[Tensor, Tensor]:
        """Return n + 1 rising edges of one number's range and the n exact probabilities between, in float64."""
        raise NotImplementedError

    def quantile(self, probability: Tensor) -> Tensor:
        """Return the values below which one number falls with these probabilities, each in (0, 1)."""
        raise NotImplementedError


class Normal(Noise):
    """Independent standard normal numbers."""

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        return out.normal_(generator=generator)

    def cells(self, n: int) -> tuple[Tensor, Tensor]:
        edges = torch.linspace(-8, 8, n + 1, dtype=torch.float64)
        below = torch.special.ndtr(edges)
        below[0], below[-1] = 0, 1  # the tails, 1e-15, belong to the outermost cells
        return edges, below.diff()

    def quantile(self, probability: Tensor) -> Tensor:
        return torch.special.ndtri(probability)


class Uniform(Noise):
    """Independent numbers uniform on [low, high)."""

    def __init__(
        self,
        *shape: int,
        low: float = 0.0,
        high: float = 1.0,
        training_only: bool = False,
        per_step: bool = False,
    ) -> None:
        super().__init__(*shape, training_only=training_only, per_step=per_step)
        self.low, self.high = low, high

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        return out.uniform_(self.low, self.high, generator=generator)

    def cells(self, n: int) -> tuple[Tensor, Tensor]:
        edges = torch.linspace(self.low, self.high, n + 1, dtype=torch.float64)
        return edges, torch.full((n,), 1 / n, dtype=torch.float64)

    def quantile(self, probability: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * probability


def draw(
    laws: Mapping[str, Noise], n: int, generators: Sequence[torch.Generator], like: Tensor
) -> dict[str, Tensor]:
    """Return name -> (seeds, n, *shape) with each seed's numbers from its own generator.

    What a law draws once per step has no axis of length n.
    """
    noise = {}
    for name, law in laws.items():
        shape = law.shape if law.per_step else (n, *law.shape)
        out = torch.empty(len(generators), *shape, dtype=like.dtype, device=like.device)
        for part, generator in zip(out, generators, strict=True):
            law.fill(part, generator)
        noise[name] = out
    return noise
