"""Datasets: every split as a tensor in memory, with the facts a game may know and, if synthetic, the truth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from ganbench import registry
from ganbench.game import Facts
from ganbench.truth import Truth


@dataclass(frozen=True)
class Dataset:
    """Images or vectors of three disjoint, fixed splits.

    Args:
        name: e.g. "mnist", or "folder:photos" for /home/me/photos.
        images: split name ("train", "validation", "test") -> uint8 (n, channels, height, width), or vectors as
            float32 (n, d) in units of their own.
        labels: split name -> int64 (n,); empty if the set is unlabelled.
        classes: number of classes, 0 if unlabelled.
        truth: the law behind a synthetic set, None if nobody knows it.
    """

    name: str
    images: dict[str, Tensor]
    labels: dict[str, Tensor] = field(default_factory=dict)
    classes: int = 0
    truth: Truth | None = None

    @property
    def facts(self) -> Facts:
        """What a game is told: name, shape, number of classes, training mean (of pixels in [0, 1])."""
        train = self.images["train"]
        if train.ndim == 2:
            return Facts(self.name, tuple(train.shape[1:]), self.classes, train.cpu().double().mean(0).float())
        # The sum of 8192 bytes is exact in float32, and that of such sums in float64: every device gives the same.
        parts = torch.stack([part.float().sum(0) for part in train.split(8192)])
        mean = parts.cpu().double().sum(0).div(255 * len(train)).float()
        return Facts(self.name, tuple(train.shape[1:]), self.classes, mean)

    @property
    def sha256(self) -> str:
        """Hash over the values of all splits."""
        total = hashlib.sha256()
        for split in ("train", "validation", "test"):
            total.update(self.images[split].cpu().numpy().tobytes())
        return total.hexdigest()

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same dataset with images and labels held on a device, in the same dtype."""
        return Dataset(
            self.name,
            {split: images.to(device) for split, images in self.images.items()},
            {split: labels.to(device) for split, labels in self.labels.items()},
            self.classes,
            self.truth,
        )


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    Args:
        name: unique name.
        summary: one line for `ganbench list datasets`.
        load: (root folder, may download) -> Dataset; UserError with one line if files are absent or damaged.
    """

    name: str
    summary: str
    load: Callable[[Path, bool], Dataset]


def register(source: Source) -> Source:
    """Make a dataset known under its name."""
    return registry.datasets.add(source.name, source)


def load(name: str, root: str | Path | None = None, download: bool = True) -> Dataset:
    """Load a dataset by name, or from "folder:PATH" or "npz:PATH".

    Args:
        name: registered name, or folder:PATH or npz:PATH.
        root: folder that holds the files in torchvision's layout; default: the environment variable
            GANBENCH_DATA, else the user cache directory.
        download: whether absent files may be fetched.

    UserError, always one line, for an unknown name and for files that are absent or damaged.
    """
    kind, colon, path = name.partition(":")
    if colon and kind in ("folder", "npz"):
        from ganbench.datasets import folder, npz  # here, because they need Dataset

        if not path:
            raise registry.UserError(f"'{name}' names no file; give its path, e.g. {kind}:data/mine")

        file = Path(path).expanduser()
        # The name seeds all random streams: the same files in another place give the same numbers.
        return (folder if kind == "folder" else npz).load(f"{kind}:{file.resolve().name}", file)
    source: Source = registry.datasets.get(name)
    place = root or os.environ.get("GANBENCH_DATA") or Path(platformdirs.user_cache_dir("ganbench")) / "data"
    return source.load(Path(place).expanduser(), download)
