"""Parzen-window log-likelihood: a Gaussian kernel density estimate on generated images, in exact float64.

The value depends on the number of centres and on the bandwidth rule more than on most models, so each rule is
a metric of its own. Log-likelihoods are natural logarithms of a density on [0, 1]^d: higher is better.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganbench.metrics import Evidence, Metric, Score, register
from ganbench.metrics.averages import average
from ganbench.metrics.distances import BLOCK, squared_distances
from ganbench.metrics.inputs import matrix, pair, pixels
from ganbench.registry import UserError

SAMPLES = 10_000
FGAN_SAMPLES = 16_000
VALIDATION = 1000


def goodfellow_grid() -> Tensor:
    """Return the 10 bandwidths of the original script, 0.1 to 1 (goodfeli/adversarial, parzen_ll.py)."""
    return torch.logspace(-1, 0, 10, dtype=torch.float64)


def fine_grid() -> Tensor:
    """Return 78 bandwidths, 0.05 to 1, each 3.97 % above the one before."""
    return torch.logspace(math.log10(0.05), 0, 78, dtype=torch.float64)


def fold_grid() -> Tensor:
    """Return 25 bandwidths, 10^-1.2 to 1, each 12.2 % above the one before."""
    return torch.logspace(-1.2, 0, 25, dtype=torch.float64)


def log_likelihoods(queries: Tensor, centres: Tensor, bandwidths: Tensor, block: int = BLOCK) -> Tensor:
    """Return log p(x) in nats of every query under every bandwidth, (b, m) float64.

    p(x) = 1/n sum_i Normal(x; c_i, sigma^2 I). One distance matrix serves all bandwidths, and the largest
    exponent is taken out before the sum, so nothing underflows.

    Args:
        queries: (m, d), finite.
        centres: (n, d), finite.
        bandwidths: (b,) sigma > 0 in the unit of the data.
        block: queries per block; memory is two float64 matrices of block x n.

    Raises:
        UserError: sizes that do not fit, values that are not finite, a bandwidth that is not positive.

    Source: Breuleux et al. 2011; Goodfellow et al. 2014, section 5.
    """
    queries, centres = pair("Parzen queries", queries, "Parzen centres", centres)
    if not bool((torch.isfinite(bandwidths) & (bandwidths > 0)).all()) or bandwidths.numel() == 0:
        raise UserError(f"expected positive Parzen bandwidths, got {bandwidths.tolist()}; give sigma > 0")
    n, d = centres.shape
    columns = []
    for squared in squared_distances(queries, centres, block):
        nearest = squared.amin(dim=1, keepdim=True)
        squared -= nearest
        kernel = torch.empty_like(squared)
        rows = []
        for sigma in bandwidths.tolist():
            scale = -0.5 / sigma**2
            torch.mul(squared, scale, out=kernel)
            log_sums = kernel.exp_().sum(dim=1).log_().add_(nearest[:, 0], alpha=scale)
            rows.append(log_sums - (math.log(n) + 0.5 * d * math.log(2 * math.pi * sigma**2)))
        columns.append(torch.stack(rows))
    return torch.cat(columns, dim=1)


def held_out_log_likelihoods(samples: Tensor, bandwidths: Tensor, folds: int = 3, block: int = BLOCK) -> Tensor:
    """Return log p(x) of every sample under the estimate on the other folds, (b, n) float64.

    Args:
        samples: (n, d), finite, independent, n >= folds.
        bandwidths: (b,) sigma > 0.
        folds: number of contiguous parts, >= 2.
        block: as in `log_likelihoods`.

    Raises:
        UserError: as in `log_likelihoods`, or fewer samples than folds.
    """
    parts = matrix("Parzen samples", samples, least=folds).tensor_split(folds)
    scores = []
    for i, part in enumerate(parts):
        rest = torch.cat(parts[:i] + parts[i + 1 :])
        scores.append(log_likelihoods(part, rest, bandwidths, block))
    return torch.cat(scores, dim=1)


def _score(evidence: Evidence, centres: Tensor, grid: Tensor, means: Tensor, rule: str) -> Score:
    """Return the score on the test split at the bandwidth with the largest of `means`, (b,)."""
    best = int(means.argmax())
    test = pixels("test images", evidence.real("test"))
    items = log_likelihoods(test, centres, grid[best : best + 1])[0]
    protocol = (
        f"{len(centres)} generated images as centres; sigma by {rule}; mean over {len(test)} test images;"
        f" {centres.shape[1]} pixels in [0, 1]; float64"
    )
    edge = " at the edge of the grid" if best in (0, len(grid) - 1) else ""
    return average(items, protocol, f"sigma={float(grid[best]):.3g}{edge}")


def _on_validation(evidence: Evidence, extractor: str, grid: Tensor) -> Score:
    centres = pixels("generated images", evidence.fake(SAMPLES))
    validation = pixels("validation images", evidence.real("validation", VALIDATION))
    means = log_likelihoods(validation, centres, grid).mean(dim=1)
    rule = (
        f"largest mean on the first {len(validation)} validation images,"
        f" {len(grid)} values {float(grid[0]):g}..{float(grid[-1]):g}"
    )
    return _score(evidence, centres, grid, means, rule)


def _on_folds(evidence: Evidence, extractor: str) -> Score:
    grid = fold_grid()
    centres = pixels("generated images", evidence.fake(FGAN_SAMPLES))
    means = held_out_log_likelihoods(centres, grid).mean(dim=1)
    rule = f"3-fold cross-validation on the centres, {len(grid)} values 10^-1.2..1"
    return _score(evidence, centres, grid, means, rule)


for _name, _summary, _compute in (
    (
        "parzen-goodfellow",
        "Parzen log-likelihood, 10k samples, sigma of 10 on validation, nats; Goodfellow et al. 2014",
        partial(_on_validation, grid=goodfellow_grid()),
    ),
    (
        "parzen-fgan",
        "Parzen log-likelihood, 16k samples, sigma by 3-fold CV on them, nats; Nowozin et al. 2016",
        _on_folds,
    ),
    (
        "parzen-fine",
        "Parzen log-likelihood, 10k samples, sigma of 78 on validation, nats; after Goodfellow et al. 2014",
        partial(_on_validation, grid=fine_grid()),
    ),
):
    register(Metric(_name, 1, _summary, "sample", "higher", "no", "nats", _compute))
