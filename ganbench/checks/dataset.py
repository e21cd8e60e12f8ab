"""The contract of a dataset: three disjoint splits of one kind of item, the same at every load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ganbench import datasets
from ganbench.checks.result import Fault, Result, change_random_state, run_check, run_stages
from ganbench.datasets import Dataset, Source

SPLITS = ("train", "validation", "test")
OVERLAP = 0.01  # fraction of a split that may stand in another: real data hold a few blank or double items


def check_dataset(source: Source, root: Path | None = None) -> Iterator[Result]:
    """Yield the result of each check of a dataset.

    Args:
        source: as registered.
        root: folder of its files, by default that of `ganbench.datasets.load`; nothing is downloaded.
    """
    load = partial(datasets.load, source.name, root, download=False)
    found: list[Dataset] = []
    yield (loaded := run_check(can_be_loaded, lambda: found.append(load())))
    if not loaded.fault:
        yield from run_stages(STAGES, Loaded(found[0], load))


@dataclass(frozen=True)
class Loaded:
    """A dataset, and how to load it again."""

    data: Dataset
    load: Callable[[], Dataset]


def can_be_loaded(load: Callable[[], None]) -> None:
    """The files must be there."""
    load()


def has_three_splits(loaded: Loaded) -> None:
    """train, validation and test, none of them empty, with items of one shape."""
    images = loaded.data.images
    if set(images) != set(SPLITS):
        raise Fault(f"splits are {', '.join(images) or 'none'}, expected {', '.join(SPLITS)}")
    for split in SPLITS:
        if not len(images[split]):
            raise Fault(f"split {split} is empty")
        if images[split].shape[1:] != images["train"].shape[1:]:
            raise Fault(f"items of {split} have shape {tuple(images[split].shape[1:])}, those of train another")


def items_have_their_dtype_and_range(loaded: Loaded) -> None:
    """Images and sequences are bytes; vectors are finite float32."""
    for split, items in loaded.data.images.items():
        kind, ndim = ("torch.float32", "2") if items.is_floating_point() else ("torch.uint8", "4 or 5")
        if str(items.dtype) != kind or str(items.ndim) not in ndim:
            raise Fault(
                f"{split} is {items.dtype} with {items.ndim} axes, expected uint8 images (n, c, h, w), uint8"
                " sequences (n, frames, c, h, w) or float32 vectors (n, d)"
            )
        if not items.isfinite().all():
            raise Fault(f"{split} holds NaN or infinity")
        if items.dtype == torch.uint8 and items.max() <= 1:
            raise Fault(f"pixels of {split} go from 0 to {items.max().item()}, expected 0 to 255")


def labels_are_classes(loaded: Loaded) -> None:
    """One class in [0, classes) for each item of every split, or no labels at all."""
    data = loaded.data
    if not data.labels:
        if data.classes:
            raise Fault(f"classes is {data.classes}, but there are no labels")
        return
    for split, items in data.images.items():
        labels = data.labels.get(split)
        if labels is None or labels.dtype != torch.int64 or labels.shape != (len(items),):
            what = "missing" if labels is None else f"{labels.dtype} of shape {tuple(labels.shape)}"
            raise Fault(f"labels of {split} are {what}, expected int64 of shape ({len(items)},)")
        if labels.min() < 0 or labels.max() >= data.classes:
            low, high = labels.min().item(), labels.max().item()
            raise Fault(f"labels of {split} go from {low} to {high}, expected 0 to {data.classes - 1}")


def loads_the_same_again(loaded: Loaded) -> None:
    """Items, labels and their order must not change from load to load."""
    change_random_state()
    one, other = loaded.data, loaded.load()
    if one.sha256 != other.sha256:
        raise Fault("a second load gives other items; draw them from a generator with a fixed seed")
    for split in one.labels:
        if not torch.equal(one.labels[split], other.labels[split]):
            raise Fault(f"a second load gives other labels of {split}")


def splits_are_disjoint(loaded: Loaded) -> None:
    """No item of one split may stand in another, but for a few that real data hold twice."""
    places = {
        split: {items.numpy().tobytes(): index for index, items in reversed(list(enumerate(images.cpu())))}
        for split, images in loaded.data.images.items()
    }
    for index, split in enumerate(SPLITS):
        for other in SPLITS[:index]:
            both = places[split].keys() & places[other].keys()
            if len(both) > OVERLAP * len(places[split]):
                item = min(both, key=places[split].__getitem__)
                raise Fault(
                    f"{len(both)} of {len(places[split])} different items of {split} are also in {other},"
                    f" e.g. item {places[split][item]} is item {places[other][item]} there"
                )


STAGES: Sequence[Sequence[Callable[[Loaded], None]]] = (
    (has_three_splits,),
    (items_have_their_dtype_and_range, labels_are_classes, loads_the_same_again, splits_are_disjoint),
)
