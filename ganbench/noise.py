"""Noise laws: how the random inputs that a game declares are drawn."""

from __future__ import annotations

import torch
from torch import Tensor


class Law:
    """A noise law: the shape of one draw and how to fill a tensor with independent draws."""

    def __init__(self, *shape: int, training_only: bool = False) -> None:
        self.shape, self.training_only = shape, training_only

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Fill `out`, of shape (n, *shape), in place from the generator and return it."""
        raise NotImplementedError


class Normal(Law):
    """Independent standard normal numbers."""

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        return out.normal_(generator=generator)


class Uniform(Law):
    """Independent numbers uniform on [low, high)."""

    def __init__(self, *shape: int, low: float = 0.0, high: float = 1.0, training_only: bool = False) -> None:
        super().__init__(*shape, training_only=training_only)
        self.low, self.high = low, high

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        return out.uniform_(self.low, self.high, generator=generator)
