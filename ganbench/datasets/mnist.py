"""MNIST and Fashion-MNIST: 28x28 grey, 10 classes, in torchvision's layout, plain or gzipped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ganbench.datasets import Dataset, Source, files, register, splits
from ganbench.datasets.idx import read_idx

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# Of the content, unzipped: the same check holds for a plain file, the published gz and one zipped again.
SHA256 = {
    "MNIST": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "FashionMNIST": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
VALIDATION = 10_000


def load(name: str, kind: str, root: Path, download: bool) -> Dataset:
    """Return 50,000 training, 10,000 validation (the last of the training file) and 10,000 test images.

    Args:
        name: dataset.
        kind: torchvision's class, which is also the name of the folder under the root.
        root: data folder.
        download: whether absent files may be fetched.
    """

    def get(target: str) -> object:
        import torchvision

        return getattr(torchvision.datasets, kind)(target, download=True)

    paths = files.require(name, root, root / kind / "raw", FILES, get if download else None, ("", ".gz"))
    x, y, x_test, y_test = (read_idx(path, sha256) for path, sha256 in zip(paths, SHA256[kind], strict=True))
    return splits.held_out(
        name,
        (splits.images(x), splits.labels(y)),
        (splits.images(x_test), splits.labels(y_test)),
        VALIDATION,
        10,
    )


for name, kind, what in (("mnist", "MNIST", "digits"), ("fashion-mnist", "FashionMNIST", "clothes")):
    register(Source(name, f"70,000 {what}, 28x28 grey, 10 classes", partial(load, name, kind)))
