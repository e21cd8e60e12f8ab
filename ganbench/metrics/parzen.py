"""Parzen-window log-likelihood: a Gaussian kernel density estimate on generated images, in exact float64.

The value depends on the number of centres and on the bandwidth rule more than on most models, so each rule is
a metric of its own. Log-likelihoods are natural logarithms of a density on [0, 1]^d: higher is better.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import BLOCK
from ganbench.metrics.numerics.checks import matrix, pair, pixels
from ganbench.metrics.numerics.distances import of_distances

SAMPLES = 10_000
FGAN_SAMPLES = 16_000
VALIDATION = 1000
TILE = 2**16  # distances that stay in the cache while all bandwidths pass over them
LOWEST = -1000.0  # exponent of 2; beside a term of 1 what lies below is nothing, but slow where it is subnormal


def goodfellow_grid() -> Tensor:
    """Return the 10 bandwidths of the original script, 0.1 to 1 (goodfeli/adversarial, parzen_ll.py)."""
    return torch.logspace(-1, 0, 10, dtype=torch.float64)


def fine_grid() -> Tensor:
    """Return 78 bandwidths, 0.05 to 1, each 3.97 % above the one before."""
    return torch.logspace(math.log10(0.05), 0, 78, dtype=torch.float64)


def fold_grid() -> Tensor:
    """Return 61 bandwidths, 0.001 to 1, each 12.2 % above the one before; the paper's 25 are the last.

    Images of a generator that varies little lie so close together that 10^-1.2, the paper's least, is too wide.
    """
    return torch.logspace(-3, 0, 61, dtype=torch.float64)


def _power_sums(squared: Tensor, powers: list[float]) -> Tensor:
    """Return sum_i 2^(power * squared_i) along rows, (b, rows); the largest term of each row must be 1."""
    terms = torch.empty_like(squared)
    return torch.stack([torch.mul(squared, p, out=terms).clamp_(min=LOWEST).exp2_().sum(dim=1) for p in powers])


def _positive(bandwidths: Tensor) -> Tensor:
    """Return the bandwidths as a float64 column, (b, 1); UserError if one is not positive or there are none."""
    if not bool((torch.isfinite(bandwidths) & (bandwidths > 0)).all()) or bandwidths.numel() == 0:
        raise UserError(f"expected positive Parzen bandwidths, got {bandwidths.tolist()}; give sigma > 0")
    return bandwidths.double()[:, None]


def _log_sums(queries: Tensor, centres: Tensor, sigmas: Tensor, block: int) -> Tensor:
    """Return log sum_i exp(-|x - c_i|^2 / (2 sigma^2)) of (m, d) queries, (b, m); sigmas: (b, 1) float64."""
    scales = -0.5 / sigmas.square()
    powers = (scales[:, 0] / math.log(2)).tolist()  # exp2 is three times as fast as exp

    def of_block(squared: Tensor, *_: slice) -> Tensor:
        nearest = squared.amin(dim=1, keepdim=True)
        squared -= nearest
        tiles = squared.split(max(1, TILE // squared.shape[1]))
        return torch.cat([_power_sums(tile, powers) for tile in tiles], dim=1).log_() + scales * nearest[:, 0]

    sums = [torch.cat(blocks, dim=1) for blocks in of_distances(of_block, queries, centres, block)]
    return torch.logsumexp(torch.stack(sums), dim=0)


def _log_norm(n: int, d: int, sigmas: Tensor) -> Tensor:
    """Return the log of what a sum over n centres is divided by, (b, 1)."""
    return math.log(n) + 0.5 * d * torch.log(2 * math.pi * sigmas.square())


def log_likelihoods(queries: Tensor, centres: Tensor, bandwidths: Tensor, block: int = BLOCK) -> Tensor:
    """Return log p(x) in nats of every query under every bandwidth, (b, m) float64.

    p(x) = 1/n sum_i Normal(x; c_i, sigma^2 I). The largest exponent is taken out, so no sum underflows.

    Args:
        queries: (m, d), finite.
        centres: (n, d), finite.
        bandwidths: (b,) sigma > 0 in the unit of the data.
        block: queries per block.

    Raises:
        UserError: sizes that do not fit, values that are not finite, a bandwidth that is not positive.

    Source: Breuleux et al. 2011; Goodfellow et al. 2014, section 5.
    """
    queries, centres = pair("Parzen queries", queries, "Parzen centres", centres)
    sigmas = _positive(bandwidths).to(centres.device)
    n, d = centres.shape
    return _log_sums(queries, centres, sigmas, block) - _log_norm(n, d, sigmas)


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
    samples = matrix("Parzen samples", samples, least=folds)
    sigmas = _positive(bandwidths).to(samples.device)
    n, d = samples.shape
    parts = samples.tensor_split(folds)
    scores = []
    for i, part in enumerate(parts):
        others = [_log_sums(part, other, sigmas, block) for other in parts[:i] + parts[i + 1 :]]
        scores.append(torch.logsumexp(torch.stack(others), dim=0) - _log_norm(n - len(part), d, sigmas))
    return torch.cat(scores, dim=1)


def _score(inputs: MetricInputs, centres: Tensor, grid: Tensor, means: Tensor, rule: str) -> Score:
    """Return the score on the test split at the bandwidth with the largest of `means`, (b,)."""
    best = int(means.argmax())
    items = log_likelihoods(pixels("test images", inputs.real("test")), centres, grid[best : best + 1])[0]
    protocol = (
        f"{len(centres)} generated images as centres; sigma by {rule}; mean over {len(items)} test images;"
        f" {centres.shape[1]} pixels in [0, 1]; float64"
    )
    edge = " at the edge of the grid" if best in (0, len(grid) - 1) else ""
    return average(items, protocol, f"sigma={float(grid[best]):.3g}{edge}")


def _on_validation(inputs: MetricInputs, extractor: str, grid: Tensor) -> Score:
    centres = pixels("generated images", inputs.fake(SAMPLES))
    validation = pixels("validation images", inputs.real("validation", VALIDATION))
    means = log_likelihoods(validation, centres, grid).mean(dim=1)
    rule = (
        f"largest mean on the first {len(validation)} validation images,"
        f" {len(grid)} values {float(grid[0]):g}..{float(grid[-1]):g}"
    )
    return _score(inputs, centres, grid, means, rule)


def _on_folds(inputs: MetricInputs, extractor: str) -> Score:
    grid = fold_grid()
    centres = pixels("generated images", inputs.fake(FGAN_SAMPLES))
    means = held_out_log_likelihoods(centres, grid).mean(dim=1)
    rule = f"3-fold cross-validation on the centres, {len(grid)} values 0.001..1"
    return _score(inputs, centres, grid, means, rule)


for _name, _version, _summary, _compute in (
    (
        "parzen-goodfellow",
        1,
        "Parzen log-likelihood, 10k samples, sigma of 10 on validation, nats; Goodfellow et al. 2014",
        partial(_on_validation, grid=goodfellow_grid()),
    ),
    (
        "parzen-fgan",
        2,
        "Parzen log-likelihood, 16k samples, sigma by 3-fold CV on them, nats; Nowozin et al. 2016",
        _on_folds,
    ),
    (
        "parzen-fine",
        1,
        "Parzen log-likelihood, 10k samples, sigma of 78 on validation, nats; after Goodfellow et al. 2014",
        partial(_on_validation, grid=fine_grid()),
    ),
):
    register(
        Metric(
            name=_name,
            version=_version,
            summary=_summary,
            ability="sample",
            better="higher",
            unit="nats",
            compute=_compute,
        )
    )
