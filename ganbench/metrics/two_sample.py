"""Generated against real samples: true density, kernel and transport distances, and their permutation tests."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.checks import matrix, pair

MMD_SAMPLES, MMD_PERMUTATIONS = 2000, 500
W1_SAMPLES, W1_TEST_SAMPLES, W1_PERMUTATIONS = 500, 250, 199
SEED = 0
"seed of the permutations; has nothing to do with the seeds of models"


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


def median_bandwidth(x: Tensor) -> float:
    """Return the median Euclidean distance over all pairs of different rows of (n, d)."""
    sigma = float(torch.nn.functional.pdist(matrix("real samples", x, 2).double()).median())
    if sigma == 0:
        raise UserError("half of all pairs of real samples are equal: no bandwidth; use w1")
    return sigma


def gaussian_kernel(x: Tensor, sigma: float) -> Tensor:
    """Return exp(-|x_i - x_j|^2 / (2 sigma^2)) of all pairs of rows of (n, d), (n, n)."""
    return _distances(x, x).square_().div_(-2 * sigma**2).exp_()


def mmd2_of_groups(kernel: Tensor, first: Tensor) -> Tensor:
    """Return the unbiased MMD^2 between the rows marked by each column and the other rows, (s,).

    Args:
        kernel: (n, n) float64, symmetric.
        first: (n, s) float64, 1 for members of the first group and 0 for the others; two or more of both.

    Source: Gretton et al. 2012, equation 3.
    """
    own = kernel.diagonal()
    other = 1 - first
    n, m = first.sum(0), other.sum(0)
    sums = kernel @ first
    within = (sums * first).sum(0)
    across = (sums * other).sum(0)
    rest = kernel.sum() - within - 2 * across
    return (within - own @ first) / (n * (n - 1)) + (rest - own @ other) / (m * (m - 1)) - 2 * across / (n * m)


def _splits(n: int, m: int, permutations: int) -> Tensor:
    """Return random ways of marking n of n + m rows, (n + m, permutations) float64; always the same."""
    generator = torch.Generator().manual_seed(SEED)
    columns = [torch.randperm(n + m, generator=generator) < n for _ in range(permutations)]
    return torch.stack(columns, 1).double()


def p_value(observed: float, permuted: Tensor) -> float:
    """Return (1 + number of permuted values that reach the observed one) / (1 + number of them).

    The test that rejects below a level is exact. Source: Phipson and Smyth 2010, equation 2.
    """
    return (1 + int((permuted >= observed).sum())) / (1 + len(permuted))


def mmd_test(x: Tensor, y: Tensor, permutations: int, sigma: float) -> tuple[float, float]:
    """Return the unbiased MMD^2 of (n, d) and (m, d) samples and its permutation p-value (1 without any)."""
    x, y = pair("generated samples", x, "real samples", y, least=2)
    observed = (torch.arange(len(x) + len(y)) < len(x)).double()[:, None]
    marks = torch.cat([observed, _splits(len(x), len(y), permutations)] if permutations else [observed], 1)
    values = mmd2_of_groups(gaussian_kernel(torch.cat([x, y]), sigma), marks)
    return float(values[0]), p_value(float(values[0]), values[1:])


def wasserstein1(distances: Tensor) -> float:
    """Return the mean cost of the cheapest matching, given the distances (n, n) of equally many samples."""
    from scipy.optimize import linear_sum_assignment  # here, because lists of metrics need no SciPy

    rows, columns = linear_sum_assignment(distances.numpy())
    return float(distances[rows, columns].mean())


def wasserstein1_test(x: Tensor, y: Tensor, permutations: int = W1_PERMUTATIONS) -> float:
    """Return the permutation p-value of the exact Wasserstein-1 distance of two (n, d) samples."""
    x, y = pair("generated samples", x, "real samples", y)
    both = torch.cat([x, y])
    distances = _distances(both, both)
    values = []
    for mark in _splits(len(x), len(y), permutations).bool().T:
        values.append(wasserstein1(distances[mark][:, ~mark]))
    # Rounding may differ between orders of the same rows: equal splits must count as reaching.
    observed = wasserstein1(distances[: len(x), len(x) :])
    return p_value(observed * (1 - 1e-12), torch.tensor(values, dtype=torch.float64))


def _sides(inputs: MetricInputs, most: int) -> tuple[Tensor, Tensor, str]:
    """Return equally many generated and test samples as rows on the CPU, and the protocol's first part."""
    real = inputs.real("test", most).flatten(1).cpu()
    fake = inputs.fake(len(real)).flatten(1).cpu()
    return fake, real, f"first {len(fake)} generated and first {len(real)} test samples"


def _log_density(inputs: MetricInputs, extractor: str) -> Score:
    logs = inputs.distribution.log_density(inputs.fake(inputs.samples).cpu())
    protocol = f"mean exact log density over {len(logs)} generated samples under the law of the data; float64"
    lost = int(logs.isneginf().sum())
    if lost:
        detail = f"minus infinity: {lost} of {len(logs)} samples lie where the law has no mass"
        return Score(math.nan, math.nan, len(logs), protocol, detail)
    return average(logs, protocol)


def _mmd(inputs: MetricInputs, extractor: str, test: bool) -> Score:
    fake, real, sides = _sides(inputs, MMD_SAMPLES)
    sigma = median_bandwidth(real)
    value, p = mmd_test(fake, real, MMD_PERMUTATIONS if test else 0, sigma)
    kernel = "Gaussian kernel, sigma = median distance of test pairs; unbiased MMD^2; float64"
    rule = f"p-value of {MMD_PERMUTATIONS} permutations; " if test else ""
    error = math.sqrt(p * (1 - p) / MMD_PERMUTATIONS) if test else math.nan
    return Score(p if test else value, error, len(fake), f"{sides}; {rule}{kernel}", f"sigma={sigma:.4g}")


def _w1(inputs: MetricInputs, extractor: str) -> Score:
    fake, real, sides = _sides(inputs, W1_SAMPLES)
    value = wasserstein1(_distances(*pair("generated samples", fake, "real samples", real)))
    return Score(value, math.nan, len(fake), f"{sides}; cheapest matching, Euclidean; float64")


def _w1_p(inputs: MetricInputs, extractor: str) -> Score:
    fake, real, sides = _sides(inputs, W1_TEST_SAMPLES)
    p = wasserstein1_test(fake, real)
    error = math.sqrt(p * (1 - p) / W1_PERMUTATIONS)
    protocol = f"{sides}; p-value of {W1_PERMUTATIONS} permutations; cheapest matching, Euclidean; float64"
    return Score(p, error, len(fake), protocol)


register(
    Metric(
        name="log-density",
        version=1,
        summary="mean true log density of generated samples, nats; highest when all sit on one peak",
        ability="sample",
        better="higher",
        unit="nats",
        compute=_log_density,
    )
)
register(
    Metric(
        name="mmd",
        version=1,
        summary="unbiased MMD^2 of samples, Gaussian kernel, median bandwidth; Gretton et al. 2012",
        ability="sample",
        better="lower",
        compute=partial(_mmd, test=False),
    )
)
register(
    Metric(
        name="mmd-p",
        version=1,
        summary="p-value of the permutation test of `mmd`, 500 permutations; Gretton et al. 2012",
        ability="sample",
        better="higher",
        compute=partial(_mmd, test=True),
    )
)
register(
    Metric(
        name="w1",
        version=1,
        summary="Wasserstein-1 distance of 500 to 500 samples by the cheapest matching; Villani 2009",
        ability="sample",
        better="lower",
        compute=_w1,
    )
)
register(
    Metric(
        name="w1-p",
        version=1,
        summary="p-value of the permutation test of `w1` with 250 to 250 samples; Phipson and Smyth 2010",
        ability="sample",
        better="higher",
        compute=_w1_p,
    )
)
