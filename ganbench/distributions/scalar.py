"""Laws of one number with density, distribution function and quantiles in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.special import log_ndtr, ndtr, ndtri

from ganbench.distributions.known import KnownDistribution, Modes

LOG_ROOT_TAU = math.log(2 * math.pi) / 2


class ComponentDistribution(KnownDistribution):
    """A law whose draws know the component that they come from."""

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        """Return n draws, (n, d) float32, and their components, int64 (n,), None if there are none."""
        raise NotImplementedError

    def sample(self, n: int, seed: int) -> Tensor:
        return self.draw(n, seed)[0]


def chosen(random: np.random.RandomState, probabilities: Tensor, n: int) -> Tensor:
    """Return n components, int64, drawn with the given probabilities."""
    below = probabilities.cumsum(0).numpy()
    picked = np.searchsorted(below[:-1], random.random_sample(n), side="right")
    return torch.from_numpy(picked.astype(np.int64))


def column(x: Tensor) -> Tensor:
    """Return numbers given as (n,) or (n, 1) as float64 (n,)."""
    return x.double().reshape(len(x))


def normal_log_density(x: Tensor, std: Tensor | float) -> Tensor:
    """Return the log density of Normal(0, std^2), elementwise."""
    std = torch.as_tensor(std, dtype=torch.float64)
    return -(x / std).square() / 2 - std.log() - LOG_ROOT_TAU


@dataclass(frozen=True)
class Curve:
    """A rising function of one number.

    Args:
        forward: f.
        inverse: f^-1 on the support.
        log_slope: log f'(h), as a function of h.
        low, high: open ends of the support.
    """

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]
    log_slope: Callable[[Tensor], Tensor]
    low: float
    high: float


def _log_logistic_slope(h: Tensor) -> Tensor:
    return torch.nn.functional.logsigmoid(h) + torch.nn.functional.logsigmoid(-h)


CURVES = {
    "exp": Curve(torch.exp, torch.log, lambda h: h, 0.0, math.inf),
    "sigmoid": Curve(torch.sigmoid, torch.logit, _log_logistic_slope, 0.0, 1.0),
    # 1 - tanh^2(h) is four times the logistic slope at 2h: no cancellation where tanh is near 1.
    "tanh": Curve(torch.tanh, torch.atanh, lambda h: math.log(4) + _log_logistic_slope(2 * h), -1.0, 1.0),
}


class PushForward(ComponentDistribution):
    """The law of f(h) for a rising f and a standard normal h.

    Args:
        curve: f, a key of CURVES.

    Source: the change of variables, p(x) = p(h) / |dx/dh|.
    """

    dimensions = 1

    def __init__(self, curve: str) -> None:
        self.curve = CURVES[curve]

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        h = torch.from_numpy(np.random.RandomState(seed).standard_normal(n))
        return self.curve.forward(h)[:, None].float(), None

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return h of numbers in the support (a harmless one elsewhere), and which those are."""
        inside = (x > self.curve.low) & (x < self.curve.high)
        return self.curve.inverse(x.where(inside, self.curve.forward(torch.zeros_like(x)))), inside

    def log_density(self, x: Tensor) -> Tensor:
        h, inside = self._split(column(x))
        return (normal_log_density(h, 1.0) - self.curve.log_slope(h)).where(inside, -math.inf)

    def cdf(self, x: Tensor) -> Tensor:
        x = column(x)
        h, inside = self._split(x)
        return ndtr(h).where(inside, (x >= self.curve.high).double())

    def quantile(self, u: Tensor) -> Tensor:
        return self.curve.forward(ndtri(u.double()))


class Square(ComponentDistribution):
    """The law of h^2 for a standard normal h: chi-squared with one degree of freedom, infinite density at 0."""

    dimensions = 1

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        return torch.from_numpy(np.random.RandomState(seed).standard_normal(n)).square()[:, None].float(), None

    def log_density(self, x: Tensor) -> Tensor:
        x = column(x)
        h = x.where(x > 0, 1.0).sqrt()
        return (normal_log_density(h, 1.0) - h.log()).where(x > 0, -math.inf)

    def cdf(self, x: Tensor) -> Tensor:
        return (column(x).clamp(min=0) / 2).sqrt().erf()

    def quantile(self, u: Tensor) -> Tensor:
        return 2 * u.double().erfinv().square()


class Mixture1d(ComponentDistribution):
    """A mixture of normal laws of one number.

    Args:
        probabilities, means, variances: one of each per component.
    """

    dimensions = 1

    def __init__(self, probabilities: list[float], means: list[float], variances: list[float]) -> None:
        self.probabilities = torch.tensor(probabilities, dtype=torch.float64)
        self.means = torch.tensor(means, dtype=torch.float64)
        self.stds = torch.tensor(variances, dtype=torch.float64).sqrt()
        if len(set(variances)) == 1:  # one spread is needed to say how far a mode reaches
            self.modes = Modes(self.means[:, None], float(self.stds[0]), self.probabilities)

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        random = np.random.RandomState(seed)
        labels = chosen(random, self.probabilities, n)
        h = torch.from_numpy(random.standard_normal(n))
        return (self.means[labels] + self.stds[labels] * h)[:, None].float(), labels

    def log_density(self, x: Tensor) -> Tensor:
        each = normal_log_density(column(x)[:, None] - self.means, self.stds)
        return (each + self.probabilities.log()).logsumexp(1)

    def cdf(self, x: Tensor) -> Tensor:
        below = log_ndtr((column(x)[:, None] - self.means) / self.stds)
        return (below + self.probabilities.log()).logsumexp(1).exp()

    def quantile(self, u: Tensor) -> Tensor:
        u = u.double()
        low, high = (
            torch.full_like(u, float(end))
            for end in ((self.means - 40 * self.stds).min(), (self.means + 40 * self.stds).max())
        )
        for _ in range(64):  # halvings: from 100 to below the last digit of a float64
            middle = (low + high) / 2
            above = self.cdf(middle) > u
            low, high = low.where(above, middle), middle.where(above, high)
        return (low + high) / 2
