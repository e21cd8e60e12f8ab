"""Extractors: images -> features and logits, with weights pinned by sha256."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ganbench import registry


@dataclass(frozen=True)
class Extractor:
    """A named feature extractor.

    Args:
        name: unique and versioned: other weights or another resize rule make another name.
        summary: one line for `ganbench list`, with input size, feature size and test accuracy.
        sha256: hash of the weight file, "" for extractors without weights.
        load: () -> network in eval mode that maps images (n, channels, height, width) float32 in [0, 1] to a
            pair (features (n, d), logits (n, classes) or None). UserError with one clear line if the weights
            are missing or differ from the hash.
        shape: the image shape it is valid for, None for any.
    """

    name: str
    summary: str
    sha256: str
    load: Callable[[], nn.Module]
    shape: tuple[int, int, int] | None = None


def register(extractor: Extractor) -> Extractor:
    """Make an extractor known under its name."""
    return registry.extractors.add(extractor.name, extractor)


def extract(network: nn.Module, images: Tensor, batch: int = 500) -> tuple[Tensor, Tensor | None]:
    """Return features and logits of all images as float64; the result does not depend on the batch size.

    Args:
        network: what `Extractor.load` returned, on the device of the images.
        images: (n, channels, height, width) in [0, 1].
        batch: images per forward pass, >= 1.
    """
    raise NotImplementedError
