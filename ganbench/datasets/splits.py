"""From arrays to the three disjoint splits: by index range, or in an order that never changes; or from a law."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganbench.datasets import Dataset
from ganbench.distributions.scalar import ComponentDistribution

SPLITS = ("train", "validation", "test")


def images(array: np.ndarray) -> Tensor:
    """Return uint8 (n, h, w) or (n, c, h, w) as a contiguous uint8 tensor (n, c, h, w)."""
    array = array[:, None] if array.ndim == 3 else array
    # A view of bytes is read-only, which torch warns about: own the memory.
    return torch.from_numpy(np.require(array, np.uint8, ["C", "W", "O"]))


def labels(array: np.ndarray) -> Tensor:
    """Return class numbers as an int64 tensor (n,)."""
    return torch.from_numpy(np.asarray(array).astype(np.int64).reshape(-1))


def permutation(n: int) -> np.ndarray:
    """Return the fixed order of n items; numpy's RandomState streams are frozen for good (NEP 19)."""
    return np.random.RandomState(0).permutation(n)


def held_out(
    name: str, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], validation: int, classes: int
) -> Dataset:
    """Return the dataset whose validation split is the end of the published training set.

    Args:
        name: dataset.
        train: images and labels of the published training set.
        test: images and labels of the published test set.
        validation: how many of the last training images are held out.
        classes: number of classes.
    """
    (x, y), cut = train, len(train[0]) - validation
    return Dataset(
        name,
        {"train": x[:cut], "validation": x[cut:], "test": test[0]},
        {"train": y[:cut], "validation": y[cut:], "test": test[1]},
        classes,
    )


def pooled(name: str, x: Tensor, y: Tensor | None, sizes: tuple[int, int, int], classes: int) -> Dataset:
    """Return the dataset whose splits, of the given sizes, are cut from one pool in the fixed order."""
    order = torch.from_numpy(permutation(len(x)))
    parts = dict(zip(SPLITS, order.split(list(sizes)), strict=True))
    return Dataset(
        name,
        {split: x[part] for split, part in parts.items()},
        {} if y is None else {split: y[part] for split, part in parts.items()},
        classes,
    )


def drawn(name: str, law: ComponentDistribution, sizes: tuple[int, int, int]) -> Dataset:
    """Return the dataset whose splits are independent draws from a law, the same for ever."""
    # Seeds far from those that anyone would draw other samples with.
    draws = {split: law.draw(n, 2**31 + i) for i, (split, n) in enumerate(zip(SPLITS, sizes, strict=True))}
    known = {split: y for split, (_, y) in draws.items() if y is not None}
    classes = 1 + max((int(y.max()) for y in known.values()), default=-1)
    return Dataset(name, {split: x for split, (x, _) in draws.items()}, known, classes, law)
