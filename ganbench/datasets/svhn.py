"""SVHN, cropped: 32x32 colour house numbers, 10 classes, from the original .mat files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ganbench.datasets import Dataset, Source, files, register, splits

VALIDATION = 5_000


def load(root: Path, download: bool) -> Dataset:
    """Return 68,257 training, 5,000 validation (the last of the training file) and 26,032 test images."""
    from torchvision.datasets import SVHN

    def get(target: str) -> object:
        return [SVHN(target, split, download=True) for split in ("train", "test")]

    published = {SVHN.split_list[split][1]: SVHN.split_list[split][2] for split in ("train", "test")}
    for path in files.require("svhn", root, root, list(published), get if download else None):
        files.check(path, files.read(path), "md5", published[path.name])

    def read(split: str) -> tuple[Tensor, Tensor]:
        part = SVHN(root, split, download=False)
        return splits.images(part.data), splits.labels(part.labels)

    return splits.held_out("svhn", read("train"), read("test"), VALIDATION, 10)


register(Source("svhn", "99,289 cropped house numbers, 32x32 colour, 10 classes", load))
