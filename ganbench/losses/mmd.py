"""Kernels on vectors and the maximum mean discrepancy, differentiable and fit for vmap. Gretton et al. 2012."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Return |x_i - y_j|^2 of vectors (n, d) and (m, d), (n, m), never negative."""
    precise = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):  # the difference of large products needs all digits
        x, y = x.to(precise), y.to(precise)
        centre = y.detach().mean(0)  # far from the origin, squares would hide small distances
        x, y = x - centre, y - centre
        squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
        return squared.clamp(min=0)


def gaussian(squared: Tensor, variances: Sequence[float]) -> Tensor:
    """Sum of exp(-|x - y|^2 / (2 v)) - 1 over the variances v, elementwise in squared distances.

    The discrepancy does not see the constant; without it, that of very near samples keeps its digits.
    """
    return torch.stack([torch.expm1(-squared / (2 * v)) for v in variances]).sum(0)


def rational_quadratic(squared: Tensor, alphas: Sequence[float]) -> Tensor:
    """Sum of (1 + |x - y|^2 / (2 a))^-a - 1 over the alphas a. Binkowski et al. 2018; constant as above."""
    return torch.stack([torch.expm1(-a * torch.log1p(squared / (2 * a))) for a in alphas]).sum(0)


def mmd2(kernel: Kernel, x: Tensor, y: Tensor, unbiased: bool = False) -> Tensor:
    """Squared maximum mean discrepancy of two samples. Gretton et al. 2012, eq. 3 (unbiased) and 5 (biased).

    Args:
        kernel: elementwise function of squared distances.
        x, y: (n, d) and (m, d), at least 2 of each if unbiased.
        unbiased: leave out the pairs of a vector with itself; the value may then be negative.
    """
    cross = kernel(squared_distances(x, y)).mean()
    return _within(kernel, x, unbiased) + _within(kernel, y, unbiased) - 2 * cross


def _within(kernel: Kernel, x: Tensor, unbiased: bool) -> Tensor:
    """Mean of the kernel over the pairs of one sample."""
    values = kernel(squared_distances(x, x))
    if not unbiased:
        return values.mean()
    return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))


def mmd(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """Root of the biased squared discrepancy, with a finite gradient where the samples agree. Li et al. 2015."""
    return (mmd2(kernel, x, y).relu() + 1e-10).sqrt()
