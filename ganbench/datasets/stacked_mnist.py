"""Stacked MNIST: three random digits as the channels of one image, 1000 combinations that can be counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganbench.datasets import Dataset, Source, mnist, register

SIZES = {"train": 50_000, "validation": 10_000, "test": 26_000}


def triples(digits: int, n: int, seed: int) -> Tensor:
    """Return which three of the digits each of n images is made of, int64 (n, 3)."""
    return torch.from_numpy(np.random.RandomState(seed).randint(0, digits, (n, 3)).astype(np.int64))


def load(root: Path, download: bool) -> Dataset:
    """Return triples whose label is 100a + 10b + c; the digits of a split are those of the same MNIST split.

    Source: Metz et al. 2017, appendix; Srivastava et al. 2017, section 4.2.
    """
    digits = mnist.load("stacked-mnist", "MNIST", root, download)
    images, labels = {}, {}
    for seed, (split, n) in enumerate(SIZES.items()):
        rows = triples(len(digits.images[split]), n, seed)
        images[split] = digits.images[split][:, 0][rows]
        labels[split] = digits.labels[split][rows] @ torch.tensor([100, 10, 1])
    return Dataset("stacked-mnist", images, labels, 1000)


register(Source("stacked-mnist", "86,000 triples of MNIST digits, 3x28x28, 1000 combinations", load))
