"""Normal laws with diagonal covariance: log densities and divergences, differentiable and fit for vmap."""

from __future__ import annotations

import math

from torch import Tensor


def normal_log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(z; mean, variance) in nats, summed over the last axis; the axes before it broadcast."""
    squared = (z - mean).square() * (-log_variance).exp()
    return -0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(-1)


def normal_divergence(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor | float = 0.0, other_log_variance: Tensor | None = None
) -> Tensor:
    """Return KL(N(mean, variance) || N(other mean, other variance)) in nats, summed over the last axis.

    The axes before it broadcast; the other law is the standard normal unless given.
    """
    other = log_variance.new_zeros(()) if other_log_variance is None else other_log_variance
    ratio = log_variance - other
    return 0.5 * (ratio.exp() + (mean - other_mean).square() * (-other).exp() - 1 - ratio).sum(-1)
