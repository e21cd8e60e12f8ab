"""Sequences that stand still: what a model of motion must beat."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganbench.game import Config, DataSpec, Game, Noise, Uniform

FRAMES = 1000
"first frames of training sequences that are kept, to be shown"


class StillFrame(Game):
    """The first frame of a training sequence again and again; the next frame is the last one seen."""

    name = "still-frame"
    role = "copy"

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        if not data.frames:
            raise ValueError(f"still frames need sequences, got shape {data.shape}")
        self.register_buffer("frames", torch.zeros(0, *data.shape[1:]))

    def noise(self) -> dict[str, Noise]:
        return {"place": Uniform(1)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        self.frames = images[:FRAMES, 0].clone()

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.extrapolate(noise, self.data.frames)

    def extrapolate(self, noise: Mapping[str, Tensor], frames: int) -> Tensor:
        """Return sequences of a given length, (n, frames, c, h, w)."""
        index = (noise["place"][:, 0].double() * len(self.frames)).long().clamp(max=len(self.frames) - 1)
        return self.frames[index, None].repeat_interleave(frames, dim=1)

    def predict(self, x: Tensor) -> Tensor:
        """Return all frames of x (n, frames, c, h, w) but the first, each predicted as the one before it."""
        return x[:, :-1]
