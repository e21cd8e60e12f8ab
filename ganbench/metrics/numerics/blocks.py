"""How much of a matrix is float64 at once, so that memory does not grow with the number of items."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

BLOCK = 128
"rows per block of pairs: enough for a fast matrix product, few enough to keep every core busy"
COLUMNS = 16_384
"most rows of a panel, the other side of the pairs; a thread holds a few float64 matrices of BLOCK x COLUMNS"
PANEL = 2**25
"most numbers of a panel: 256 MB"
ROWS = 4096
"rows read at once where no pairs are needed: 64 MB at 2048 dimensions"


def panels(items: Tensor) -> Iterator[slice]:
    """Yield consecutive slices of (n, d) items that are small enough to be held in float64."""
    size = max(1, min(COLUMNS, PANEL // items.shape[1]))
    return (slice(start, min(start + size, len(items))) for start in range(0, len(items), size))


def in_float64(items: Tensor) -> Iterator[Tensor]:
    """Yield blocks of at most ROWS rows in float64."""
    return (rows.double() for rows in items.split(ROWS))
