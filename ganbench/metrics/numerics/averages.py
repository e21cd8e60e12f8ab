"""From one number per item to a score."""

from __future__ import annotations

import math

from torch import Tensor

from ganbench.metrics import Score


def average(items: Tensor, protocol: str, detail: str = "") -> Score:
    """Return the mean over items with its standard error, std(ddof=1) / sqrt(n).

    Args:
        items: (n,) float64, one value per independent item.
        protocol, detail: as in `Score`.
    """
    n = len(items)
    std_error = float(items.std()) / math.sqrt(n) if n > 1 else math.nan
    return Score(float(items.mean()), std_error, n, protocol, detail)
