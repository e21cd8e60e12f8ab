"""Laws on vectors made of Gaussians: mixtures of balls or ellipsoids, and a noisy spiral."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ganbench.distributions.known import Modes
from ganbench.distributions.scalar import LOG_ROOT_TAU, ComponentDistribution, chosen
from ganbench.errors import UserError

ROWS = 2048
"vectors whose density is computed at once"


def log_mixture(x: Tensor, centres: Tensor, stds: Tensor, log_weights: Tensor) -> Tensor:
    """Return the log density (n,) of a mixture of Gaussians that share independent coordinates.

    Args:
        x: (n, d).
        centres: (k, d) float64.
        stds: (d,) float64, > 0.
        log_weights: (k,) float64.
    """
    constant = len(stds) * LOG_ROOT_TAU + stds.log().sum()
    parts = [
        # Differences, not a matrix product, whose rounding would show far from the origin.
        torch.cdist(rows.double() / stds, centres / stds, compute_mode="donot_use_mm_for_euclid_dist")
        for rows in x.split(ROWS)
    ]
    return torch.cat([(log_weights - part.square() / 2).logsumexp(1) for part in parts]) - constant


class Mixture(ComponentDistribution):
    """Equally likely Gaussians with the same independent coordinates.

    Args:
        centres: (k, d).
        stds: standard deviation along each dimension, (d,); where it is 0 every vector has the centre's number.
    """

    def __init__(self, centres: Tensor, stds: Tensor) -> None:
        self.centres, self.stds, k = centres.double(), stds.double(), len(centres)
        self.dimensions = centres.shape[1]
        self.probabilities = torch.full((k,), 1 / k, dtype=torch.float64)
        variances = None if bool((self.stds == self.stds[0]).all()) else self.stds.square().expand(k, -1)
        self.modes = Modes(self.centres, float(stds.max()), self.probabilities, variances)

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        random = np.random.RandomState(seed)
        labels = chosen(random, self.probabilities, n)
        noisy = self.stds > 0
        x = self.centres[labels]
        x[:, noisy] += self.stds[noisy] * torch.from_numpy(random.standard_normal((n, int(noisy.sum()))))
        return x.float(), labels

    def log_density(self, x: Tensor) -> Tensor:
        if not bool((self.stds > 0).all()):
            raise UserError("this law has no density: some coordinates never vary; use a metric on samples")
        return log_mixture(x, self.centres, self.stds, self.probabilities.log())


class Ellipsoids(ComponentDistribution):
    """Equally likely Gaussians, each with a covariance of its own: low rank plus independent noise.

    Args:
        means: (k, d).
        factors: (k, d, r); component i has covariance factors[i] factors[i]' + diag(noise^2).
        noise: standard deviation along each dimension, (d,); no density exists if any is 0 and r < d.
    """

    def __init__(self, means: Tensor, factors: Tensor, noise: Tensor) -> None:
        self.means, self.factors, self.noise = means.double(), factors.double(), noise.double()
        k, self.dimensions = means.shape
        self.probabilities = torch.full((k,), 1 / k, dtype=torch.float64)
        spread = float((self.factors.square().sum(2) + self.noise.square()).mean().sqrt())
        covariances = self.factors @ self.factors.mT + torch.diag(self.noise.square())
        variances = torch.linalg.eigvalsh(covariances).clamp(min=0)
        self.modes = Modes(self.means, spread, self.probabilities, variances)

    def standardised(self) -> Ellipsoids:
        """Return the law of the vectors after each dimension has got mean 0 and variance 1, exactly."""
        centre = self.means.mean(0)
        within = self.factors.square().sum(2).mean(0) + self.noise.square()
        std = (within + (self.means - centre).square().mean(0)).sqrt()
        return Ellipsoids((self.means - centre) / std, self.factors / std[:, None], self.noise / std)

    def of_components(self, labels: Tensor, random: np.random.RandomState) -> Tensor:
        """Return one draw, (n, d) float32, from the component that each label names."""
        z = torch.from_numpy(random.standard_normal((len(labels), self.factors.shape[2])))
        x = self.noise * torch.from_numpy(random.standard_normal((len(labels), self.dimensions)))
        for i in range(len(self.means)):
            mine = labels == i
            x[mine] += self.means[i] + z[mine] @ self.factors[i].T
        return x.float()

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        random = np.random.RandomState(seed)
        labels = chosen(random, self.probabilities, n)
        return self.of_components(labels, random), labels

    def log_density(self, x: Tensor) -> Tensor:
        if not bool((self.noise > 0).all()):
            raise UserError("this law has no density: its clusters are flat; use a metric on samples")
        covariances = self.factors @ self.factors.mT + torch.diag(self.noise.square())
        roots = torch.linalg.cholesky(covariances)
        each = []
        for mean, root in zip(self.means, roots, strict=True):
            white = torch.linalg.solve_triangular(root, (x.double() - mean).T, upper=False)
            each.append(-white.square().sum(0) / 2 - root.diagonal().log().sum())
        return (torch.stack(each, 1) + self.probabilities.log()).logsumexp(1) - self.dimensions * LOG_ROOT_TAU


class SwissRoll(ComponentDistribution):
    """The spiral (t cos t, t sin t), t uniform on [1.5 pi, 4.5 pi], with Gaussian noise, all divided by 7.5.

    Args:
        noise: standard deviation along each dimension before the division.

    Source: scikit-learn's make_swiss_roll, dimensions 0 and 2; igul222/improved_wgan_training, gan_toy.py.
    """

    dimensions, scale, steps_of_round = 2, 7.5, (1.5 * math.pi, 4.5 * math.pi)

    def __init__(self, noise: float = 0.25) -> None:
        self.noise = noise
        # Panels of at most 2.7 noise deviations, ten Gauss-Legendre nodes in each: exact to ten digits.
        nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(10))
        edges = torch.linspace(*self.steps_of_round, 201, dtype=torch.float64)
        middles, half = (edges[1:] + edges[:-1]) / 2, (edges[1] - edges[0]) / 2
        self._curve = self._on_curve((middles[:, None] + half * nodes).flatten()) / self.scale
        self._log_weights = (weights / 2 / len(middles)).log().repeat(len(middles))

    @staticmethod
    def _on_curve(t: Tensor) -> Tensor:
        return torch.stack([t * t.cos(), t * t.sin()], 1)

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
        random = np.random.RandomState(seed)
        low, high = self.steps_of_round
        t = torch.from_numpy(low + (high - low) * random.random_sample(n))
        noise = self.noise * torch.from_numpy(random.standard_normal((n, 2)))
        return ((self._on_curve(t) + noise) / self.scale).float(), None

    def log_density(self, x: Tensor) -> Tensor:
        stds = torch.full((2,), self.noise / self.scale, dtype=torch.float64)
        return log_mixture(x, self._curve, stds, self._log_weights)
