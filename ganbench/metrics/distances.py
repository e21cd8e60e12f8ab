"""Squared Euclidean distances in blocks, so that memory is bounded by threads x block x centres."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ganbench.metrics.threads import in_threads

BLOCK = 250
"rows per block: enough for a fast matrix product, few enough to keep every core busy"

Result = TypeVar("Result")


def of_distances(
    function: Callable[[Tensor, slice], Result], queries: Tensor, centres: Tensor, block: int = BLOCK
) -> list[Result]:
    """Return function((rows, n) squared distances, which rows) of consecutive blocks of queries.

    |q - c|^2 is expanded to |q|^2 + |c|^2 - 2 q.c, one matrix product per block. The error is about 1e-15 of
    the largest squared norm after both sides are moved so that the first centre is the origin.

    Args:
        function: may overwrite the distances; it is called from several threads.
        queries: (m, d) float64.
        centres: (n, d) float64.
        block: queries per block, >= 1.
    """
    # Moving by a row, not by the mean, keeps identical rows exactly zero.
    origin = centres[0]
    centres = centres - origin
    norms = centres.square().sum(dim=1)  # (n,)

    def of_block(start: int) -> Result:
        part = slice(start, start + block)
        rows = queries[part] - origin
        products = torch.addmm(norms, rows, centres.T, alpha=-2)  # (rows, n)
        return function(products.add_(rows.square().sum(dim=1, keepdim=True)).clamp_(min=0), part)

    return in_threads(of_block, range(0, len(queries), block))
