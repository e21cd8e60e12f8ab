"""USPS: 16x16 grey digits of envelopes, 10 classes, from libsvm's files; an .npz copy loads as npz:PATH."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ganbench.datasets import Dataset, Source, files, register, splits

VALIDATION = 1_000
HINT = ", or give an .npz copy as npz:PATH"


def load(root: Path, download: bool) -> Dataset:
    """Return 6,291 training, 1,000 validation (the last of the training file) and 2,007 test images."""
    from torchvision.datasets import USPS

    def get(target: str) -> object:
        return [USPS(target, train, download=True) for train in (True, False)]

    published = {name: md5 for _, name, md5 in USPS.split_list.values()}
    for path in files.require("usps", root, root, list(published), get if download else None, hint=HINT):
        files.check(path, files.read(path), "md5", published[path.name])

    def read(train: bool) -> tuple[Tensor, Tensor]:
        part = USPS(root, train, download=False)
        return splits.images(part.data), splits.labels(part.targets)

    return splits.held_out("usps", read(True), read(False), VALIDATION, 10)


register(Source("usps", "9,298 digits of envelopes, 16x16 grey, 10 classes", load))
