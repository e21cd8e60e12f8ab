"""What metric functions accept: checked matrices of any real type, one row per item.

The values stay as and where they are, perhaps in a file: metrics make float64 of one block at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics.numerics.blocks import ROWS


def matrix(name: str, values: Tensor, least: int = 1) -> Tensor:
    """Return the values as they are, after checks that hold no copy of them.

    Args:
        name: what the rows are, for messages.
        values: (n, d), finite.
        least: smallest n for which the metric is defined.

    Raises:
        UserError: another number of axes, fewer than `least` rows, no columns, NaN or infinity.
    """
    if values.ndim != 2 or values.shape[1] == 0:
        raise UserError(
            f"{name}: expected shape (items, dimensions), got {tuple(values.shape)}; flatten each item"
        )
    if len(values) < least:
        raise UserError(f"{name}: expected at least {least} rows, got {len(values)}; use more samples")
    if len(values) and not bool(torch.isfinite(torch.stack(values.aminmax())).all()):  # NaN passes through both
        bad = sum(int((~torch.isfinite(rows)).any(dim=1).sum()) for rows in values.split(ROWS))
        raise UserError(
            f"{name}: expected finite values, got NaN or infinity in {bad} of {len(values)} rows;"
            " check whether training diverged"
        )
    return values


def pair(name_a: str, a: Tensor, name_b: str, b: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Return two checked matrices with equally many columns; see `matrix`."""
    a, b = matrix(name_a, a, least), matrix(name_b, b, least)
    if a.shape[1] != b.shape[1]:
        raise UserError(
            f"{name_a} have {a.shape[1]} dimensions and {name_b} have {b.shape[1]};"
            " use the same extractor or image size for both"
        )
    return a, b


def pixels(name: str, images: Tensor) -> Tensor:
    """Return images as rows of pixels.

    Args:
        name: what the images are, for messages.
        images: (n, channels, height, width) in [0, 1].

    Raises:
        UserError: no images, values that are not finite, or values outside [0, 1].
    """
    rows = matrix(name, images.flatten(start_dim=1))
    low, high = (float(bound) for bound in rows.aminmax())
    if low < 0 or high > 1:
        raise UserError(f"{name}: expected pixels in [0, 1], got [{low:.3g}, {high:.3g}]; rescale them first")
    return rows
