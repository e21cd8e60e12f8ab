"""Normal laws with diagonal covariance: log densities and divergences, differentiable and fit for vmap."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _wide(x: Tensor) -> Tensor:
    """Return numbers of at least 32 bits: sums over a code's axes would lose bfloat16's few digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def normal_log_density(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(z; mean, variance) in nats, summed over the last axis; the axes before it broadcast."""
    z, mean, log_variance = _wide(z), _wide(mean), _wide(log_variance)
    squared = (z - mean).square() * (-log_variance).exp()
    return -0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(-1)


def normal_divergence(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor | None = None, other_log_variance: Tensor | None = None
) -> Tensor:
    """Return KL(N(mean, variance) || N(other mean, other variance)) in nats, summed over the last axis.

    The axes before it broadcast; the other law has mean 0 and variance 1 where they are not given.
    """
    mean, log_variance = _wide(mean), _wide(log_variance)
    gap = mean if other_mean is None else mean - _wide(other_mean)
    other = torch.zeros_like(log_variance) if other_log_variance is None else _wide(other_log_variance)
    ratio = log_variance - other
    return 0.5 * (ratio.exp() + gap.square() * (-other).exp() - 1 - ratio).sum(-1)
