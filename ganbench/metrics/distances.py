"""Squared Euclidean distances in blocks, so that memory is bounded by block x centres."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 1000


def squared_distances(queries: Tensor, centres: Tensor, block: int = BLOCK) -> Iterator[Tensor]:
    """Yield (rows, n) squared distances for consecutive blocks of queries.

    |q - c|^2 is expanded to |q|^2 + |c|^2 - 2 q.c, one matrix product per block. The error is about 1e-15 of
    the largest squared norm after both sides are moved so that the first centre is the origin.

    Args:
        queries: (m, d) float64.
        centres: (n, d) float64.
        block: queries per block, >= 1.
    """
    # Moving by a row, not by the mean, keeps identical rows exactly zero.
    origin = centres[0]
    centres = centres - origin
    norms = centres.square().sum(dim=1)  # (n,)
    for rows in queries.split(block):
        rows = rows - origin
        products = torch.addmm(norms, rows, centres.T, alpha=-2)  # (rows, n)
        yield products.add_(rows.square().sum(dim=1, keepdim=True)).clamp_(min=0)
