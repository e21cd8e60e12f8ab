"""Digits: 1,797 real handwritten digits of 8x8 pixels that come with scikit-learn; needs no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganbench.datasets import Dataset, Source, register, splits

SIZES = (1197, 200, 400)


def load(root: Path, download: bool) -> Dataset:
    """Return the digits, grey levels 0..16 stretched to 0..255 (UCI 'Optical recognition', test part)."""
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    grey = np.round(pixels.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    return splits.pooled("digits", splits.images(grey), splits.labels(targets), SIZES, 10)


register(Source("digits", "1,797 handwritten digits, 8x8 grey, shipped with scikit-learn: no files", load))
