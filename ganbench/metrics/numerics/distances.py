"""Squared Euclidean distances by blocks of queries and panels of centres: memory grows with neither."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from ganbench.metrics.numerics.blocks import BLOCK, panels
from ganbench.metrics.numerics.threads import in_threads

Result = TypeVar("Result")


def of_distances(
    function: Callable[[Tensor, slice, slice], Result], queries: Tensor, centres: Tensor, block: int = BLOCK
) -> Iterator[list[Result]]:
    """Return function(squared distances (rows, columns), rows, columns) of all blocks, lazily panel by panel.

    |q - c|^2 is expanded to |q|^2 + |c|^2 - 2 q.c, one matrix product per block. The error is about 1e-15 of
    the largest squared norm after both sides are moved so that the first centre is the origin.

    Args:
        function: may overwrite the distances, float64, but keep no view of them; called from several threads.
        queries: (m, d), any real type.
        centres: (n, d), any real type.
        block: queries per block, >= 1.
    """
    origin = centres[0].double()  # a row, not the mean: identical rows stay exactly zero
    tiles = threading.local()  # each thread overwrites its own: the allocator would keep most of what is freed
    room = block * max(part.stop - part.start for part in panels(centres))

    def tile(rows: int, columns: int) -> Tensor:
        if not hasattr(tiles, "numbers"):
            tiles.numbers = torch.empty(room, dtype=torch.float64, device=centres.device)
        return tiles.numbers[: rows * columns].view(rows, columns)

    def of_panel(columns: slice) -> list[Result]:
        panel = centres[columns] - origin  # float64
        norms = panel.square().sum(dim=1)  # (columns,)

        def of_block(start: int) -> Result:
            rows = slice(start, min(start + block, len(queries)))
            moved = queries[rows] - origin
            products = tile(len(moved), len(panel))
            torch.addmm(norms, moved, panel.T, alpha=-2, out=products)
            return function(products.add_(moved.square().sum(dim=1, keepdim=True)).clamp_(min=0), rows, columns)

        return in_threads(of_block, range(0, len(queries), block))

    return map(of_panel, panels(centres))
