"""Gaussian mixture fitted by expectation maximisation: diagonal, tied or full covariances."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise, NonNegative, Normal, Published, Uniform


@dataclass(frozen=True)
class Config(GameConfig):
    components: Count = 30
    "number of Gaussians, at most the number of training examples"
    covariance: Literal["diag", "tied", "full"] = "diag"
    "form of the covariances: a diagonal each, one matrix for all, or a matrix each"
    iterations: Count = 1000
    "largest number of EM iterations of a start; most stop before, converged"
    starts: Count = 3
    "EM runs from different k-means centres; the likeliest is kept"
    floor: NonNegative = 1e-6
    "added to every variance, in the units of x"


class GaussianMixture(Game):
    """Mixture of Gaussians on x itself, fitted by expectation maximisation. Dempster, Laird and Rubin 1977."""

    name = "gaussian-mixture"
    role = "reference"
    variants = {
        "gaussian-mixture": {},
        "gaussian-mixture-tied": {"covariance": "tied"},
        "gaussian-mixture-full": {"covariance": "full"},
    }
    published = {
        "gaussian-mixture": (
            Published(
                "mnist",
                "exemplar-accuracy-test",
                0.6833,
                0.0021,
                "Li et al. 2018, Table 1, row GMM; +- is over runs",
                note="form of the covariances and number of iterations not stated; K = 30 by the released code",
                protocol="K=30",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        size = data.mean.numel()
        factors = {
            "diag": (config.components, size),
            "tied": (size, size),
            "full": (config.components, size, size),
        }
        self.register_buffer("edges", torch.zeros(config.components))
        self.register_buffer("means", torch.zeros(config.components, *data.shape))
        self.register_buffer("factors", torch.zeros(factors[config.covariance]))

    def noise(self) -> dict[str, Noise]:
        return {"component": Uniform(1), "pixels": Normal(*self.data.shape)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning  # slow to import, needed here only
        from sklearn.mixture import GaussianMixture as Mixture

        count = min(self.config.components, len(images))
        mixture = Mixture(
            count,
            covariance_type=self.config.covariance,
            max_iter=self.config.iterations,
            n_init=self.config.starts,
            reg_covar=self.config.floor,
            random_state=seed % 2**32,
        )
        with warnings.catch_warnings():
            # The number of iterations is part of the setting; stopping there is no fault.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(images.flatten(1).cpu().double().numpy())
        covariances = torch.from_numpy(mixture.covariances_)
        diagonal = self.config.covariance == "diag"
        self.edges = torch.from_numpy(mixture.weights_.cumsum()).to(images)
        self.means = torch.from_numpy(mixture.means_).to(images).reshape(count, *images.shape[1:])
        self.factors = (covariances.sqrt() if diagonal else torch.linalg.cholesky(covariances)).to(images)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        component = torch.searchsorted(self.edges, noise["component"][:, 0]).clamp(max=len(self.edges) - 1)
        images = self.means[component] + self._spread(component, noise["pixels"].flatten(1)).view_as(
            noise["pixels"]
        )
        return images.clamp(-1, 1) if self.data.bounded else images

    def _spread(self, component: Tensor, z: Tensor) -> Tensor:
        """Return normal noise z (n, d) with the covariance of its component (n,)."""
        if self.config.covariance == "diag":
            return self.factors[component] * z
        if self.config.covariance == "tied":
            return z @ self.factors.T
        spread = torch.empty_like(z)
        for k, factor in enumerate(self.factors):  # one matrix at a time: a copy for each item would not fit
            mine = component == k
            spread[mine] = z[mine] @ factor.T
        return spread

    def cluster(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the components given x, (n, components) float64."""
        x, means, factors = x.flatten(1).double(), self.means.flatten(1).double(), self.factors.double()
        weights = self.edges.double().diff(prepend=self.edges.new_zeros(1).double())
        if self.config.covariance == "diag":
            # Squares are expanded into matrix products: near the variances' floor float32 would lose the sum.
            precisions = factors.square().reciprocal()
            distances = (
                x.square() @ precisions.T - 2 * x @ (means * precisions).T + (means.square() * precisions).sum(1)
            )
            volumes = factors.log().sum(1)
        else:
            factors = factors.expand(len(means), *factors.shape[-2:])
            pairs = zip(means, factors, strict=True)
            whitened = (torch.linalg.solve_triangular(factor, (x - mean).T, upper=False) for mean, factor in pairs)
            distances = torch.stack([white.square().sum(0) for white in whitened], dim=1)
            volumes = factors.diagonal(dim1=1, dim2=2).log().sum(1)
        return (weights.log() - volumes - distances / 2).log_softmax(1)
