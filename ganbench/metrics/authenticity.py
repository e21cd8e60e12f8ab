"""Authenticity: does the generator memorise its training images?"""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.metrics import Evidence, Metric, Score, register
from ganbench.metrics.averages import average
from ganbench.metrics.distances import BLOCK, of_distances
from ganbench.metrics.inputs import matrix, pair, pixels

SAMPLES = 1000


def _direct(a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances row by row, (n,): exactly 0 for copies, unlike the expanded form."""
    return (a - b).square().sum(dim=1)


def nearest(queries: Tensor, centres: Tensor, block: int = BLOCK) -> Tensor:
    """Return the index of the nearest centre of each query, (m,)."""
    return torch.cat(of_distances(lambda squared, _: squared.argmin(dim=1), queries, centres, block))


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
    index = nearest(fake, train, block)
    found, position = index.unique(return_inverse=True)

    def other(squared: Tensor, rows: slice) -> Tensor:
        return squared.scatter_(1, found[rows, None], torch.inf).argmin(dim=1)

    gaps = _direct(train[found], train[torch.cat(of_distances(other, train[found], train, block))])
    return (_direct(fake, train[index]) > gaps[position]).double()


def _authenticity(evidence: Evidence, extractor: str) -> Score:
    fake = pixels("generated images", evidence.fake(SAMPLES))
    train = pixels("training images", evidence.real("train"))
    protocol = f"first {len(fake)} generated against {len(train)} training images; pixel distance; float64"
    return average(authentic(fake, train), protocol)


register(
    Metric(
        "authenticity",
        1,
        "share of generated images that are no near copies of training images; Alaa et al. 2022",
        "sample",
        "higher",
        "no",
        "",
        _authenticity,
    )
)
