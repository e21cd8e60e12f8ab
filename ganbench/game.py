"""stub, being written"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Facts:
    """What a game is told about its data.

    Args:
        name: dataset name.
        shape: (channels, height, width) of an image.
        classes: number of classes, 0 if unlabelled.
        mean: per-pixel mean of the training images in [0, 1], same shape.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    mean: Tensor
