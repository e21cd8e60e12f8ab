"""CIFAR-10: 32x32 colour, 10 classes, from torchvision's pickled files or the official binary version."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
from torch import Tensor

from ganbench.datasets import Dataset, Source, files, register, splits

BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
BINARY, PICKLED = "cifar-10-batches-bin", "cifar-10-batches-py"
MD5 = {
    BINARY: (
        "5dd7e06a14cb22eb9f671a540d1b7c25",
        "5ea93a67294ea407fff1d09f752e9692",
        "942cd6a4bcdd0dd3c604fbe906cb4421",
        "ae636b3ba5c66a11e91e8cb52e771fcb",
        "53f37980c15c3d472c316c40844f3f0d",
        "803d5f7f4d78ea53de84dbe85f74fb6d",
    ),
    PICKLED: (
        "c99cafc152244af753f735de768cd75f",
        "d4bba439e000b95fd0a9bffe97cbabec",
        "54ebc095f3ab1f0389bbae665268c751",
        "634d18415352ddfa80567beed471001a",
        "482c414d41f54cd18b22e5b47cb7c3cb",
        "40351d587109b95175f43aff81a1287e",
    ),
}
ROW = 1 + 3 * 32 * 32
VALIDATION = 5_000


def load(root: Path, download: bool) -> Dataset:
    """Return 45,000 training, 5,000 validation (the last of batch 5) and 10,000 test images.

    Both versions hold the same images in the same order; the binary one is taken if all of it is there.
    """

    def get(target: str) -> object:
        import torchvision

        return torchvision.datasets.CIFAR10(target, download=True)

    binary = [f"{batch}.bin" for batch in BATCHES]
    if all((root / BINARY / file).is_file() for file in binary):
        paths = [root / BINARY / file for file in binary]
    else:
        hint = f", or the binary version ({', '.join(binary)}) in {root / BINARY}"
        paths = files.require("cifar10", root, root / PICKLED, BATCHES, get if download else None, hint=hint)
    version = paths[0].parent.name
    parse = _binary if version == BINARY else _pickled
    parts = []
    for path, digest in zip(paths, MD5[version], strict=True):
        content = files.read(path)
        files.check(path, content, "md5", digest)
        parts.append(parse(content))

    def join(batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
        x, y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
        return splits.images(x), splits.labels(y)

    return splits.held_out("cifar10", join(parts[:-1]), join(parts[-1:]), VALIDATION, 10)


def _binary(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Read rows of one label byte and 3,072 bytes of planar RGB."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, ROW)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def _pickled(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Read a batch of the Python version; safe to unpickle because its checksum is that of the original."""
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 warn about how the NumPy that wrote these files spelt its dtypes (numpy#31177).
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        batch = pickle.loads(content, encoding="latin1")
    return np.asarray(batch["data"]).reshape(-1, 3, 32, 32), np.asarray(batch["labels"])


register(Source("cifar10", "60,000 photographs, 32x32 colour, 10 classes", load))
