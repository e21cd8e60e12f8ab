"""Frechet distance between Gaussians fitted to two sets of features, without a square root of a product.

For covariances S = F^T F the trace term is a nuclear norm, tr sqrt(S1 S2) = |F1 F2^T|_*, for any factor F.
With fewer items than dimensions the centred items themselves are the factor, and the matrix is n x n; with more,
the covariance is summed block by block and split by Cholesky's decomposition.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.blocks import BLOCK, ROWS
from ganbench.metrics.numerics.checks import matrix, pair
from ganbench.metrics.numerics.moments import Moments
from ganbench.metrics.numerics.threads import in_threads, one_thread

GROUPS = 10
"groups of generated items that the jackknife leaves out in turn"
JACKKNIFE_DIMENSIONS = 256
"feature size up to which the jackknife is cheap beside the features"
LARGE = 1500
"matrix size from which more cores are worth it to a decomposition: below, waiting for each other costs more"


class Gaussian(NamedTuple):
    """A normal law with a factor of its covariance."""

    mean: Tensor  # (d,) float64
    factor: Tensor  # (r, d) float64; factor.T @ factor is the covariance


def gaussian_of_features(features: Tensor) -> Gaussian:
    """Return the law with the sample mean and the unbiased sample covariance (ddof=1) of (n, d) features."""
    n, d = features.shape
    if n <= d:
        items = features.double()
        mean = items.mean(dim=0)
        return Gaussian(mean, (items - mean) / math.sqrt(n - 1))
    moments = Moments()
    for rows in features.split(ROWS):
        moments.add(rows)
    return Gaussian(moments.mean(), _factor(moments.covariance()))


def gaussian_of_moments(mean: Tensor, covariance: Tensor) -> Gaussian:
    """Return the law with mean (d,) and covariance (d, d); UserError if they do not fit or are not finite."""
    covariance = matrix("covariance", covariance).double()
    mean = matrix("mean", mean[None])[0].double()
    if covariance.shape != (len(mean), len(mean)) or not torch.allclose(covariance, covariance.T, rtol=1e-4):
        raise UserError(
            f"expected a symmetric covariance of {len(mean)} x {len(mean)} beside the mean,"
            f" got {tuple(covariance.shape)}; write the statistics again"
        )
    return Gaussian(mean, _factor(covariance))


def _factor(covariance: Tensor) -> Tensor:
    """Return F, (r, d), with F.T @ F = covariance."""
    with _cores(len(covariance)):
        rounding = len(covariance) * torch.finfo(torch.float64).eps
        root, failed = torch.linalg.cholesky_ex(covariance)
        pivots = root.diagonal().square()
        if not bool(failed) and bool(pivots.min() > rounding * covariance.diagonal().max()):
            return root.T
        # A direction without variance: only the dearer eigenvectors tell it from one with little.
        values, vectors = torch.linalg.eigh(covariance)
        # Below this bound eigenvalues are rounding noise, whose square roots would not be small.
        keep = values > rounding * values[-1]
        return (vectors[:, keep] * values[keep].sqrt()).T


def _cores(size: int) -> AbstractContextManager[None]:
    """Return the context for a decomposition of a matrix of some size: a small one is slower on many cores."""
    return one_thread() if size < LARGE else nullcontext()


def distance(a: Gaussian, b: Gaussian) -> float:
    """Return the squared Frechet distance of two normal laws, >= 0 (Dowson and Landau 1982)."""
    product = torch.cat(in_threads(lambda rows: rows @ b.factor.T, a.factor.split(BLOCK)))
    with _cores(min(product.shape)):
        cross = torch.linalg.svdvals(product).sum()
    spread = a.factor.square().sum() + b.factor.square().sum()
    return max(0.0, float((a.mean - b.mean).square().sum() + spread - 2 * cross))


def frechet_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Return |mu_a - mu_b|^2 + tr(S_a + S_b - 2 sqrt(S_a S_b)) of two sets of features.

    Args:
        features_a: (n, d), n >= 2, finite.
        features_b: (m, d), m >= 2, finite.

    Raises:
        UserError: fewer than 2 items, other shapes, NaN or infinity.

    Source: Heusel et al. 2017, equation 6.
    """
    a, b = pair("features", features_a, "other features", features_b, least=2)
    return distance(gaussian_of_features(a), gaussian_of_features(b))


def frechet_distance_from_moments(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Return the Frechet distance of two normal laws given by mean (d,) and covariance (d, d).

    Raises:
        UserError: shapes that do not fit, values that are not finite, a covariance that is not symmetric.
    """
    a, b = gaussian_of_moments(mean_a, cov_a), gaussian_of_moments(mean_b, cov_b)
    if len(a.mean) != len(b.mean):
        raise UserError(f"statistics have {len(a.mean)} and {len(b.mean)} dimensions; use one extractor")
    return distance(a, b)


def _jackknife(real: Gaussian, fake: Tensor) -> float:
    """Return the delete-a-group standard error over generated items; NaN where it would be dear."""
    if fake.shape[1] > JACKKNIFE_DIMENSIONS or len(fake) < 2 * GROUPS:
        return math.nan
    groups = [Moments() for _ in range(GROUPS)]
    for group, part in zip(groups, fake.tensor_split(GROUPS), strict=True):
        for rows in part.split(ROWS):
            group.add(rows)

    def without(left_out: Moments) -> float:
        rest = Moments()
        for group in groups:
            if group is not left_out:
                rest.merge(group)
        return distance(real, Gaussian(rest.mean(), _factor(rest.covariance())))

    distances = in_threads(without, groups)
    values = torch.tensor(distances, dtype=torch.float64)
    return math.sqrt((GROUPS - 1) / GROUPS * float((values - values.mean()).square().sum()))


def score(real: Tensor, fake: Tensor, extractor: str, what: str = "images") -> Score:
    """Return the distance of generated from test features, with the standard error over generated ones.

    Args:
        real: features of test items, (n, d), n >= 2, finite.
        fake: features of generated items, (m, d), m >= 2, finite.
        extractor: its name and weight hash, for the protocol.
        what: what the items are, for the protocol.
    """
    real, fake = pair("test features", real, "generated features", fake, least=2)
    law = gaussian_of_features(real)
    n, d = min(len(real), len(fake)), real.shape[1]
    protocol = (
        f"{len(fake)} generated and {len(real)} test {what}; {extractor}; {d} features; covariance ddof=1; float64"
    )
    detail = f"rank-deficient covariance: {n} images for {d} features" if n <= d else ""
    value = distance(law, gaussian_of_features(fake))
    return Score(value, _jackknife(law, fake), len(fake), protocol, detail)


def _fid(inputs: MetricInputs, extractor: str) -> Score:
    real = inputs.features("test", extractor).features
    fake = inputs.features("fake", extractor, inputs.samples).features
    return score(real, fake, inputs.extractor_id(extractor))


register(
    Metric(
        name="fid",
        version=1,
        summary="Frechet distance of features, biased upwards at small n; Heusel et al. 2017",
        ability="sample",
        better="lower",
        needs_extractor="features",
        compute=_fid,
    )
)
