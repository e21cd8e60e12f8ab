"""Extractors: images -> features and logits, with weights pinned by sha256."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.precision import float32_arithmetic


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


def extract(network: nn.Module, images: Tensor, batch: int = 100) -> tuple[Tensor, Tensor | None]:
    """Return features and logits of all images as float64; the result does not depend on the batch size.

    The network is put into eval mode and computes in the dtype of its parameters (float64 if it has none). In
    float64 the batch size moves the result by less than 1e-9. A float32 network such as Inception keeps
    float32's rounding, about 1e-6 of a feature, with TF32 and autocast switched off.

    Args:
        network: what `Extractor.load` returned, on the device of the images.
        images: (n, channels, height, width) in [0, 1], floating point.
        batch: images per forward pass, >= 1; on a CPU about 100 is fastest: larger ones leave the cache.
    """
    first = next(network.parameters(), None)
    dtype = torch.float64 if first is None else first.dtype
    network.eval()
    results: list[Tensor] = []  # features and perhaps logits of all images: parts to join would double the memory
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False), float32_arithmetic():
        for i, chunk in enumerate(images.split(batch)):
            part = [values for values in network(chunk.to(dtype)) if values is not None]
            if not results:
                results = [
                    torch.empty(len(images), *values.shape[1:], dtype=torch.float64, device=values.device)
                    for values in part
                ]
            for result, values in zip(results, part, strict=True):
                result[i * batch : (i + 1) * batch] = values
    return results[0], results[1] if len(results) > 1 else None
