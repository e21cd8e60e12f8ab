"""Datasets: every split as a tensor in memory, with the facts a game may know and, if synthetic, the truth."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from ganbench import registry
from ganbench.distributions.known import KnownDistribution
from ganbench.distributions.moving import Moving
from ganbench.game.contract import DataSpec
from ganbench.names import HELD_BACK
from ganbench.records import seed_stream, to_json

SEQUENCES = 1000
"sequences of a split, the first ones, that are measured, fitted to and averaged: float32 videos fill any memory"


@dataclass(frozen=True)
class Dataset:
    """Images, vectors or sequences of frames of three disjoint, fixed splits.

    Args:
        name: e.g. "mnist", or "folder:photos" for /home/me/photos.
        images: split name ("train", "validation", "test") -> uint8 (n, channels, height, width), or vectors as
            float32 (n, d) in units of their own, or sequences as uint8 (n, frames, channels, height, width).
        labels: split name -> int64 (n,); empty if the set is unlabelled.
        classes: number of classes, 0 if unlabelled.
        truth: the law behind a synthetic set, None if nobody knows it.
        view: how images become the sequences that games see, None if they see what is stored.
    """

    name: str
    images: dict[str, Tensor]
    labels: dict[str, Tensor] = field(default_factory=dict)
    classes: int = 0
    distribution: KnownDistribution | None = None
    view: Moving | None = None

    @cached_property
    def data_spec(self) -> DataSpec:
        """What a game is told: name, shape, number of classes, training mean (of pixels in [0, 1]).

        The mean of sequences is that of the first ones, SEQUENCES of them.
        """
        train = self.shown("train")
        if train.ndim == 2:
            return DataSpec(self.name, tuple(train.shape[1:]), self.classes, train.cpu().double().mean(0).float())
        # The sum of 8192 bytes is exact in float32, and that of such sums in float64: every device gives the same.
        parts = torch.stack([part.float().sum(0) for part in train.split(8192 if train.ndim == 4 else 100)])
        mean = parts.cpu().double().sum(0).div(255 * len(train)).float()
        return DataSpec(self.name, tuple(train.shape[1:]), self.classes, mean)

    @property
    def sequences(self) -> bool:
        """Whether games see sequences of frames."""
        return self.view is not None or self.images["train"].ndim == 5

    def shown(self, split: str, n: int | None = None) -> Tensor:
        """Return the first n items (default: all) of a split as games see them; of sequences at most SEQUENCES.

        A view has noise from one fixed seed per split here, so that these sequences are always the same.
        """
        if not self.sequences:
            return self.images[split][:n]
        images = self.images[split][: SEQUENCES if n is None else min(n, SEQUENCES)]
        if self.view is None:
            return images
        generator = torch.Generator().manual_seed(seed_stream("view", split))
        noise = {}
        for name, law in self.view.noise().items():
            drawn = law.fill(torch.empty(SEQUENCES, *law.shape, dtype=torch.float64), generator)
            noise[name] = drawn[: len(images)].to(images.device)
        return self.view(images, noise)

    @property
    def sha256(self) -> str:
        """Hash over the values of all splits and the settings of the view."""
        total = hashlib.sha256()
        for split in ("train", "validation", "test"):
            total.update(self.images[split].cpu().numpy().tobytes())
        if self.view is not None:
            total.update(json.dumps(to_json(self.view), sort_keys=True).encode())
        return total.hexdigest()

    def held_back(self) -> Dataset:
        """Return the dataset "validation:<name>" without its test items: the validation ones stand in for them."""
        images = self.images | {"test": self.images["validation"]}
        labels = self.labels | ({"test": self.labels["validation"]} if "validation" in self.labels else {})
        return replace(self, name=HELD_BACK + self.name, images=images, labels=labels)

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same dataset with images and labels held on a device, in the same dtype."""
        return Dataset(
            self.name,
            {split: images.to(device) for split, images in self.images.items()},
            {split: labels.to(device) for split, labels in self.labels.items()},
            self.classes,
            self.distribution,
            self.view,
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
    """Load a dataset by name, or from "folder:PATH", "frames:PATH" or "npz:PATH".

    Args:
        name: registered name, or folder:PATH, frames:PATH or npz:PATH; after "validation:" any of these with the
            validation items in the place of the test ones, so that settings can be chosen without them.
        root: folder that holds the files in torchvision's layout; default: the environment variable
            GANBENCH_DATA, else the user cache directory.
        download: whether absent files may be fetched.

    UserError, always one line, for an unknown name and for files that are absent or damaged.
    """
    kind, colon, path = name.partition(":")
    if name.startswith(HELD_BACK):
        return load(path, root, download).held_back()
    if colon and kind in ("folder", "frames", "npz"):
        from ganbench.datasets import folder, frames, npz  # here, because they need Dataset

        if not path:
            raise registry.UserError(f"'{name}' names no file; give its path, e.g. {kind}:data/mine")

        file = Path(path).expanduser()
        # The name seeds all random streams: the same files in another place give the same numbers.
        reader = {"folder": folder, "frames": frames, "npz": npz}[kind]
        return reader.load(f"{kind}:{file.resolve().name}", file)
    source: Source = registry.datasets.get(name)
    place = root or os.environ.get("GANBENCH_DATA") or Path(platformdirs.user_cache_dir("ganbench")) / "data"
    return source.load(Path(place).expanduser(), download)
