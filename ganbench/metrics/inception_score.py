"""Inception score: how sure a classifier is about each image, and how varied its answers are."""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import ROWS
from ganbench.metrics.numerics.checks import matrix

SPLITS = 10


def _sums(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of p log p over images and classes, and that of p over images, (classes,)."""
    p = logits.softmax(dim=1)
    return torch.xlogy(p, p).sum(), p.sum(dim=0)  # a class that an image cannot have adds 0 to the first


def inception_scores(logits: Tensor, splits: int = SPLITS) -> Tensor:
    """Return exp(mean KL(p(y|x) || p(y))) of each contiguous split, (splits,) float64 in [1, classes].

    Args:
        logits: (n, classes), finite, n >= splits; of generated or of real images.
        splits: number of parts; p(y) is the mean within a part.

    Raises:
        UserError: fewer images than splits, another shape, NaN or infinity.

    Source: Salimans et al. 2016, section 4.
    """
    logits = matrix("logits", logits, least=splits)
    n, classes = logits.shape
    scores = []
    for i in range(splits):
        part = logits[i * n // splits : (i + 1) * n // splits]
        certainty = torch.zeros((), dtype=torch.float64, device=logits.device)  # sum of p log p
        marginal = torch.zeros(classes, dtype=torch.float64, device=logits.device)
        for rows in part.split(ROWS // 4):  # the allocator keeps some of what softmax and logarithm free
            negentropy, mass = _sums(rows.double())
            certainty += negentropy
            marginal += mass
        marginal /= len(part)
        scores.append((certainty / len(part) - torch.xlogy(marginal, marginal).sum()).exp())
    return torch.stack(scores)


def _inception_score(inputs: MetricInputs, extractor: str) -> Score:
    logits = inputs.features("fake", extractor, inputs.samples).logits
    if logits is None:
        raise UserError(
            f"extractor '{extractor}' gives no class logits, which inception-score needs; use a classifier"
        )
    scores = average(inception_scores(logits), "")
    protocol = (
        f"{len(logits)} generated images in {SPLITS} contiguous splits, mean over splits;"
        f" {inputs.extractor_id(extractor)}; {logits.shape[1]} classes; float64"
    )
    return Score(scores.value, scores.std_error, len(logits), protocol)


register(
    Metric(
        name="inception-score",
        version=1,
        summary="exp of the mean KL(p(y|x) || p(y)), 10 splits; Salimans et al. 2016",
        ability="sample",
        better="higher",
        needs_extractor="logits",
        compute=_inception_score,
    )
)
