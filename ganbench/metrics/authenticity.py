"""Authenticity: does the generator memorise its training images?"""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import BLOCK, ROWS
from ganbench.metrics.numerics.checks import matrix, pair, pixels
from ganbench.metrics.numerics.distances import of_distances

SAMPLES = 1000


def _direct(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances row by row, (n,): exactly 0 for copies, unlike the expanded form."""
    return (a.double() - b.double()).square().sum(dim=1)


def _nearest(queries: Tensor, centres: Tensor, block: int, left_out: Tensor | None = None) -> Tensor:
    """Return the index of the nearest centre of each query, (m,), other than its own `left_out`, (m,)."""

    def of_block(squared: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        if left_out is not None:
            own = left_out[rows, None] == torch.arange(columns.start, columns.stop, device=squared.device)
            squared.masked_fill_(own, torch.inf)
        least, index = squared.min(dim=1)
        return least, index + columns.start

    parts = [
        [torch.cat(x) for x in zip(*blocks, strict=True)]
        for blocks in of_distances(of_block, queries, centres, block)
    ]
    least, index = (torch.stack(x) for x in zip(*parts, strict=True))  # (panels, m)
    return index.gather(0, least.argmin(dim=0, keepdim=True))[0]


def authentic(fake: Tensor, train: Tensor, block: int = BLOCK) -> Tensor:
    """Return 1 for each generated item that is no near copy of a training item, (n,) float64.

    A generated item is a near copy if its nearest training item is at least as near to it as to any other
    training item.

    Args:
        fake: (n, d), finite.
        train: (m, d), finite, m >= 2.
        block: generated items per distance block.

    Raises:
        UserError: fewer than 2 training items, other shapes, NaN or infinity.

    Source: Alaa et al. 2022, authenticity.
    """
    train = matrix("training items", train, least=2)
    fake, train = pair("generated items", fake, "training items", train)
    return torch.cat([_authentic(part, train, block) for part in fake.split(ROWS)])


def _authentic(fake: Tensor, train: Tensor, block: int) -> Tensor:
    index = _nearest(fake, train, block)
    found, position = index.unique(return_inverse=True)
    winners = train[found]
    gaps = _direct(winners, train[_nearest(winners, train, block, left_out=found)])
    return (_direct(fake, winners[position]) > gaps[position]).double()


def _authenticity(inputs: MetricInputs, extractor: str) -> Score:
    fake = pixels("generated images", inputs.fake(SAMPLES))
    train = pixels("training images", inputs.real("train"))
    protocol = f"first {len(fake)} generated against {len(train)} training images; pixel distance; float64"
    return average(authentic(fake, train), protocol)


register(
    Metric(
        name="authenticity",
        version=1,
        summary="share of generated images that are no near copies of training images; Alaa et al. 2022",
        ability="sample",
        better="higher",
        compute=_authenticity,
    )
)
