"""f-divergences as f-GAN uses them. Nowozin et al. 2016, Tables 1, 2 and 6.

D_f(P || Q) = integral of q f(p / q) with P the data and Q the model; for every v the pair
(g(v), f*(g(v))) gives the variational bound E_P[g(V)] - E_Q[f*(g(V))] <= D_f(P || Q).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    """One row of the f-GAN table; every function works elementwise.

    Args:
        f: the convex function, for u > 0, with f(1) = 0 (except "gan", where f(1) = -log 4).
        conjugate: f*(t) = sup over u of ut - f(u).
        activation: g(v), which maps a free number into the domain of f*.
        composite: f*(g(v)) in a form that neither overflows early nor cancels.
        domain: open interval of t on which f* is finite.
        threshold: f'(1); a sample looks real where g(v) exceeds it.
    """

    f: Function
    conjugate: Function
    activation: Function
    composite: Function
    domain: tuple[float, float]
    threshold: float


def _jeffrey_root(t: Tensor) -> Tensor:
    """Return w > 0 with w + log w = 1 - t, differentiable once."""
    c = 1 - t
    with torch.no_grad():
        y = torch.where(c > 1, c.clamp(min=1).log(), c - 1)  # y = log w, below or at the root's bend
        for _ in range(8):
            y = y - (y.exp() + y - c) / (y.exp() + 1)
    # One Newton step outside no_grad: its derivative is the implicit one, as w itself is already exact.
    return (y - (y.exp() + y - c) / (y.exp() + 1)).exp()


def _jeffrey_conjugate(t: Tensor) -> Tensor:
    w = _jeffrey_root(t)
    return w + 1 / w + t - 2


def _identity(v: Tensor) -> Tensor:
    return v


def _weighted_jensen_shannon(pi: float) -> Divergence:
    """Jensen-Shannon divergence with weight pi in (0, 1) on the data, up to scale."""

    def f(u: Tensor) -> Tensor:
        mixture = 1 - pi + pi * u
        return pi * u * u.log() - mixture * mixture.log()

    def log_rest(log_power: Tensor) -> Tensor:
        # (1 - pi) log((1 - pi) / (1 - power)); the power is below 1, its log below 0
        return (1 - pi) * (math.log(1 - pi) - torch.log(-torch.expm1(log_power)))

    return Divergence(
        f=f,
        conjugate=lambda t: (1 - pi) * torch.log((1 - pi) / (1 - pi * torch.exp(t / pi))),
        activation=lambda v: -pi * math.log(pi) - softplus(-v),
        composite=lambda v: log_rest(-softplus(-v) / pi),
        domain=(-math.inf, -pi * math.log(pi)),
        threshold=0.0,
    )


def _alpha(alpha: float) -> Divergence:
    """Alpha-divergence for any alpha except 0 and 1, where it becomes a Kullback-Leibler divergence."""

    def f(u: Tensor) -> Tensor:
        return (u.pow(alpha) - 1 - alpha * (u - 1)) / (alpha * (alpha - 1))

    def conjugate(t: Tensor) -> Tensor:
        # The base is cut at 0: for alpha > 1 the supremum is then attained at u = 0.
        return ((t * (alpha - 1) + 1).clamp(min=0).pow(alpha / (alpha - 1)) - 1) / alpha

    if alpha > 1:
        return Divergence(f, conjugate, _identity, conjugate, (-math.inf, math.inf), 0.0)
    top = 1 / (1 - alpha)
    return Divergence(
        f=f,
        conjugate=conjugate,
        activation=lambda v: top - softplus(-v),
        composite=lambda v: (((1 - alpha) * softplus(-v)).pow(alpha / (alpha - 1)) - 1) / alpha,
        domain=(-math.inf, top),
        threshold=0.0,
    )


_TABLE = {
    "kl": Divergence(
        f=lambda u: u * u.log(),
        conjugate=lambda t: (t - 1).exp(),
        activation=_identity,
        composite=lambda v: (v - 1).exp(),
        domain=(-math.inf, math.inf),
        threshold=1.0,
    ),
    "reverse-kl": Divergence(
        f=lambda u: -u.log(),
        conjugate=lambda t: -1 - (-t).log(),
        activation=lambda v: -(-v).exp(),
        composite=lambda v: v - 1,
        domain=(-math.inf, 0.0),
        threshold=-1.0,
    ),
    "pearson": Divergence(
        f=lambda u: (u - 1).square(),
        # For t < -2 the exact conjugate is -1; the parabola stays a valid bound and keeps a gradient.
        conjugate=lambda t: t.square() / 4 + t,
        activation=_identity,
        composite=lambda v: v.square() / 4 + v,
        domain=(-math.inf, math.inf),
        threshold=0.0,
    ),
    "neyman": Divergence(
        f=lambda u: (1 - u).square() / u,
        conjugate=lambda t: 2 - 2 * (1 - t).sqrt(),
        activation=lambda v: 1 - (-v).exp(),
        composite=lambda v: 2 - 2 * (-v / 2).exp(),
        domain=(-math.inf, 1.0),
        threshold=0.0,
    ),
    "squared-hellinger": Divergence(
        f=lambda u: (u.sqrt() - 1).square(),
        conjugate=lambda t: t / (1 - t),
        activation=lambda v: 1 - (-v).exp(),
        composite=lambda v: v.exp() - 1,
        domain=(-math.inf, 1.0),
        threshold=0.0,
    ),
    "jeffrey": Divergence(
        f=lambda u: (u - 1) * u.log(),
        conjugate=_jeffrey_conjugate,
        activation=_identity,
        composite=_jeffrey_conjugate,
        domain=(-math.inf, math.inf),
        threshold=0.0,
    ),
    "jensen-shannon": Divergence(
        f=lambda u: u * u.log() - (u + 1) * ((1 + u) / 2).log(),
        conjugate=lambda t: -(2 - t.exp()).log(),
        activation=lambda v: math.log(2) - softplus(-v),
        composite=lambda v: softplus(v) - math.log(2),
        domain=(-math.inf, math.log(2)),
        threshold=0.0,
    ),
    "gan": Divergence(
        f=lambda u: u * u.log() - (u + 1) * (u + 1).log(),
        conjugate=lambda t: -(-t.exp()).log1p(),
        activation=lambda v: -softplus(-v),
        composite=softplus,
        domain=(-math.inf, 0.0),
        threshold=-math.log(2),
    ),
    "total-variation": Divergence(
        f=lambda u: (u - 1).abs() / 2,
        conjugate=_identity,
        activation=lambda v: v.tanh() / 2,
        composite=lambda v: v.tanh() / 2,
        domain=(-0.5, 0.5),
        threshold=0.0,  # f has a kink at 1; 0 is the middle of its subgradients
    ),
}

NAMES = (*_TABLE, "weighted-jensen-shannon", "alpha")


def divergence(name: str, alpha: float = 0.5, pi: float = 0.3) -> Divergence:
    """Return a row of the table.

    Args:
        name: one of NAMES.
        alpha: order of the alpha-divergence, neither 0 nor 1; unused by the others.
        pi: weight of the data in the weighted Jensen-Shannon divergence, in (0, 1); unused by the others.

    Raises:
        ValueError: unknown name, or alpha or pi out of range.
    """
    if name == "alpha":
        if alpha in (0.0, 1.0):
            raise ValueError(f"alpha must be neither 0 nor 1, got {alpha}; use kl or reverse-kl")
        return _alpha(alpha)
    if name == "weighted-jensen-shannon":
        if not 0 < pi < 1:
            raise ValueError(f"pi must be in (0, 1), got {pi}")
        return _weighted_jensen_shannon(pi)
    if name not in _TABLE:
        raise ValueError(f"divergence must be one of {', '.join(NAMES)}, got '{name}'")
    return _TABLE[name]
