"""Gaussian mixture with diagonal covariances, fitted by expectation maximisation on pixels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise, NonNegative, Normal, Published, Uniform


@dataclass(frozen=True)
class Config(GameConfig):
    components: Count = 30
    "number of Gaussians, at most the number of training images"
    iterations: Count = 30
    "largest number of EM iterations"
    floor: NonNegative = 1e-3
    "added to every variance, on the [-1, 1] scale"


class GaussianMixture(Game):
    """Mixture of diagonal Gaussians on pixels: what a classical density model scores."""

    name = "gaussian-mixture"
    role = "reference"
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
        self.register_buffer("edges", torch.zeros(config.components))
        self.register_buffer("means", torch.zeros(config.components, *data.shape))
        self.register_buffer("scales", torch.zeros(config.components, *data.shape))

    def noise(self) -> dict[str, Noise]:
        return {"component": Uniform(1), "pixels": Normal(*self.data.shape)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning  # slow to import, needed here only
        from sklearn.mixture import GaussianMixture as Mixture

        count = min(self.config.components, len(images))
        mixture = Mixture(
            count,
            covariance_type="diag",
            max_iter=self.config.iterations,
            reg_covar=self.config.floor,
            random_state=seed % 2**32,
        )
        with warnings.catch_warnings():
            # The number of iterations is part of the setting; stopping there is no fault.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(images.flatten(1).cpu().double().numpy())
        shape = (count, *images.shape[1:])
        self.edges = torch.from_numpy(mixture.weights_.cumsum()).to(images)
        self.means = torch.from_numpy(mixture.means_).to(images).reshape(shape)
        self.scales = torch.from_numpy(mixture.covariances_).to(images).sqrt().reshape(shape)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        component = torch.searchsorted(self.edges, noise["component"][:, 0]).clamp(max=len(self.edges) - 1)
        images = self.means[component] + self.scales[component] * noise["pixels"]
        return images.clamp(-1, 1) if self.data.bounded else images

    def cluster(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the components given x, (n, components) float64."""
        # Squares are expanded into matrix products: near the floor of the variances float32 would lose the sum.
        x, means, scales = (part.flatten(1).double() for part in (x, self.means, self.scales))
        precisions = scales.square().reciprocal()
        distances = (
            x.square() @ precisions.T - 2 * x @ (means * precisions).T + (means.square() * precisions).sum(1)
        )
        weights = self.edges.double().diff(prepend=self.edges.new_zeros(1).double())
        return (weights.log() - scales.log().sum(1) - distances / 2).log_softmax(1)
