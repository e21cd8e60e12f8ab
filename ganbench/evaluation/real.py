"""The real side of all comparisons."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.features import Extractor, extract
from ganbench.metrics import Features, Split


class RealData:
    """Real images and their features, computed once per process.

    Args:
        data: the dataset, on the device that measures.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._features: dict[tuple[str, str], Features] = {}
        self._networks: dict[str, torch.nn.Module] = {}

    def images(self, split: Split, n: int | None = None) -> Tensor:
        """Return the first n items (default: all that are shown) of a split, float32 in [0, 1], or vectors."""
        images = self.data.shown(split, n)
        return images.to(torch.float32) / 255 if images.dtype == torch.uint8 else images

    def extract(self, images: Tensor, name: str) -> Features:
        """Return the features of any images; UserError if the extractor is not valid for them."""
        extractor: Extractor = registry.extractors.get(name)
        shape = tuple(images.shape[1:])
        if extractor.shape is not None and extractor.shape != shape:
            raise UserError(f"extractor {name} is for images of shape {extractor.shape}, not {shape}")
        if len(shape) == 4:
            raise UserError(f"extractor {name} takes single images, not sequences of shape {shape}; try frame-fid")
        if name not in self._networks:
            self._networks[name] = extractor.load().to(images.device)
        return Features(*extract(self._networks[name], images))

    def features(self, split: Split, name: str) -> Features:
        """Return the features of a whole split."""
        if (split, name) not in self._features:
            self._features[split, name] = self.extract(self.images(split), name)
        return self._features[split, name]


def real_data(name: str, root: str | None = None, download: bool = True, device: str = "cpu") -> RealData:
    """Return a dataset ready to be compared with, loaded once per process and device.

    Args:
        name, root, download: see `ganbench.datasets.load`.
        device: torch device name.
    """
    return _loaded(name, root, download, device)


@lru_cache(maxsize=4)
def _loaded(name: str, root: str | None, download: bool, device: str) -> RealData:
    if device != "cpu":
        return RealData(_loaded(name, root, download, "cpu").data.to(device))
    return RealData(datasets.load(name, root, download))
