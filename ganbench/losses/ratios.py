"""Losses that are least at the density ratio r = p / q. Mohamed and Lakshminarayanan 2016, arXiv:1610.03483.

A ratio network gives log r at data x ~ p ("real") and at generated x ~ q ("fake"), (n, 1) or (n,); a loss is
E_p[a(log r)] + E_q[b(log r)]. Class probabilities are D = r / (1 + r), with equal shares of p and q.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganbench.errors import UserError
from ganbench.losses.mmd import squared_distances

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RatioLoss:
    """One loss of a density ratio; both functions work elementwise on log r.

    Args:
        real: a, averaged over p.
        fake: b, averaged over q.
        softplus: whether networks give r = softplus(output), which grows slowly, instead of exp(output).
    """

    real: Function
    fake: Function
    softplus: bool = False

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss of log ratios at data and at generated points, a scalar."""
        return self.real(real).mean() + self.fake(fake).mean()

    def log_ratio(self, output: Tensor) -> Tensor:
        """Return log r for a network's output, any real numbers."""
        return log_softplus(output) if self.softplus else output


def log_softplus(x: Tensor) -> Tensor:
    """Return log log(1 + exp x), also where exp x underflows."""
    low = -15.0  # below, log(1 + exp x) is exp x to seven digits
    return torch.where(x < low, x, softplus(x.clamp(min=low)).log())


RATIO_LOSSES = {
    # Proper losses of the class probability D,
    "bernoulli": RatioLoss(lambda t: 0.5 * softplus(-t), lambda t: 0.5 * softplus(t)),
    "brier": RatioLoss(lambda t: 0.5 * (-t).sigmoid().square(), lambda t: 0.5 * t.sigmoid().square()),
    "exponential": RatioLoss(lambda t: 0.5 * (-t / 2).exp(), lambda t: 0.5 * (t / 2).exp()),
    # and Bregman divergences E_q[r f'(r) - f(r)] - E_p[f'(r)] up to constants, with f = u^2 / 2,
    "lsif": RatioLoss(lambda t: -t.exp(), lambda t: 0.5 * (2 * t).exp(), softplus=True),
    # f = u log u - u,
    "kliep": RatioLoss(lambda t: -t, torch.exp),
    # and f = u log u - (u + 1) log(u + 1), which is twice the Bernoulli loss.
    "logistic": RatioLoss(lambda t: softplus(-t), softplus),
}


def reverse_kl(fake: Tensor) -> Tensor:
    """-E_q log r, the estimate of KL(q || p), for generators: the expectation is over generated points."""
    return -fake.mean()


def ulsif(
    real: Tensor, fake: Tensor, centres: Tensor, bandwidth: float, ridge: float
) -> Callable[[Tensor], Tensor]:
    """Return the least-squares ratio x (n, d) -> r (n,) on Gaussian kernels. Kanamori et al. 2009.

    Args:
        real: sample of p, (n, d).
        fake: sample of q, (m, d).
        centres: of the kernels, (b, d), usually some of the real points.
        bandwidth: standard deviation of the kernels, > 0, in units of x.
        ridge: weight of |coefficients|^2 / 2, > 0.
    """
    if bandwidth <= 0 or ridge <= 0:
        raise UserError(f"bandwidth and ridge must be > 0, got {bandwidth} and {ridge}; raise them")

    def basis(x: Tensor) -> Tensor:
        return (-squared_distances(x, centres) / (2 * bandwidth**2)).exp()

    of_fake = basis(fake)
    second = of_fake.T @ of_fake / len(fake) + ridge * torch.eye(len(centres)).to(of_fake)
    weights = torch.linalg.solve(second, basis(real).mean(0)).clamp(min=0)
    return lambda x: basis(x) @ weights
