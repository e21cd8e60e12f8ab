"""Variational deep embedding. Jiang et al. 2017, arXiv:1611.05148, and its released code."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from ganbench.game import (
    MLP,
    Adam,
    Count,
    DataSpec,
    Decay,
    Game,
    Noise,
    NonNegative,
    Normal,
    Player,
    Published,
    Uniform,
    UserError,
)
from ganbench.game import Config as GameConfig
from ganbench.losses import normal_divergence, normal_log_density

BATCH = 100  # of the autoencoder


@dataclass(frozen=True)
class Config(GameConfig):
    clusters: Count = 10
    "number K of Gaussians"
    latent: Count = 10
    "size of z"
    epochs: Count = 50
    "passes of the autoencoder over the training set, before the first round"
    rate: NonNegative = 1e-3
    "learning rate of Adam on the autoencoder"


# The rate falls by .9 in 10 epochs of 700 rounds, here a little in every round, down to a tenth.
DECAY = Decay(divisor=math.exp(-math.log(0.9) / 7000), floor=0.1)


class VaDE(Game):
    """VAE with a Gaussian mixture as prior, started at a mixture of codes. Jiang et al. 2017, section 3.

    The paper stacks the autoencoder's layers; here it is trained in one go by cross-entropy at draws of q(z | x),
    without which a normed decoder leaves codes far smaller than the first draws' noise. The mixture's weights are
    a softmax, its variances exponentials; Adam's epsilon is the library's.
    """

    name = "vade"
    players = (
        Player(
            "vae",
            nets=("encoder", "decoder", "logits", "means", "log_variances"),
            optimiser=Adam(2e-3, (0.9, 0.999), DECAY),
        ),
    )
    variants = {
        "vade": {},
        "vade-2017": {
            "backbone": MLP(
                generator=(2000, 500, 500),
                critic=(500, 500, 2000),
                generator_norm="none",
                critic_activation="relu",
                zero_one=True,
            )
        },
    }
    published = dict.fromkeys(
        ("vade", "vade-2017"),
        (
            Published(
                "mnist",
                "cluster-accuracy",
                0.9446,
                math.nan,
                "Jiang et al. 2017, clustering accuracy on MNIST",
                comparable=False,
                note="the best run; trained and scored on all 70,000 images with the best map",
            ),
        ),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if not data.bounded:
            raise ValueError(f"its Bernoulli likelihood needs images, got shape {data.shape}")
        self.encoder = config.backbone.make_encoder(data.shape, 2 * config.latent)
        self.decoder = config.backbone.make_generator(config.latent, data.shape)
        self.logits = nn.Parameter(torch.zeros(config.clusters))
        self.means = nn.Parameter(torch.randn(config.clusters, config.latent))
        self.log_variances = nn.Parameter(torch.zeros(config.clusters, config.latent))

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent), "cluster": Uniform(1)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Train encoder and decoder as an autoencoder, then start the prior at a mixture fitted to the codes."""
        from sklearn.exceptions import ConvergenceWarning  # slow to import, needed here only
        from sklearn.mixture import GaussianMixture

        if len(images) < self.config.clusters:
            raise UserError(
                f"expected at least clusters={self.config.clusters} training images, got {len(images)}; "
                "ask for fewer clusters"
            )
        self.to(images.device)
        training, x = self.training, images.to(self.means.dtype)
        self.train()
        self._learn_codes(x, seed)
        self.eval()  # a norm's moments are then those of all batches
        with torch.no_grad():
            codes = torch.cat([self.encode(part) for part in x.split(1000)])
        self.train(training)
        mixture = GaussianMixture(self.config.clusters, covariance_type="diag", random_state=seed % 2**32)
        with warnings.catch_warnings():
            # The mixture is only a start; training goes on from wherever it stops.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(codes.cpu().double().numpy())
        fitted = (mixture.weights_, mixture.means_, mixture.covariances_)
        weights, means, variances = (torch.from_numpy(array).to(self.means) for array in fitted)
        with torch.no_grad():
            self.logits.copy_(weights.log())
            self.means.copy_(means)
            self.log_variances.copy_(variances.log())

    def _learn_codes(self, x: Tensor, seed: int) -> None:
        """Minimise the surprise at images (n, *shape) given draws of their codes."""
        generator = torch.Generator().manual_seed(seed)  # on the CPU: the same order on every device
        batch = min(BATCH, len(x))
        adam = torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=self.config.rate)
        for _ in range(self.config.epochs):
            order = torch.randperm(len(x), generator=generator)[: len(x) // batch * batch].to(x.device)
            for index in order.split(batch):
                adam.zero_grad()
                mean, log_variance = self.encoder(x[index]).chunk(2, dim=1)
                normal = torch.randn(mean.shape, generator=generator).to(mean)
                self.surprise(x[index], mean + (0.5 * log_variance).exp() * normal).mean().backward()
                adam.step()
        adam.zero_grad()

    def surprise(self, x: Tensor, z: Tensor) -> Tensor:
        """Return -log p(x | z) in nats, grey levels being probabilities, (n,)."""
        pixels = ((x + 1) / 2).flatten(1)
        logits = self.decoder.logits(z).flatten(1)
        return binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(1)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        edges = self.logits.softmax(0).cumsum(0)[:-1]
        k = (noise["cluster"] >= edges).sum(1)
        return self.decode(self.means[k] + (0.5 * self.log_variances[k]).exp() * noise["z"])

    def encode(self, x: Tensor) -> Tensor:
        """Return the mean of q(z | x), (n, latent)."""
        return self.encoder(x).chunk(2, dim=1)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the means (n, *shape) in [-1, 1] of images with codes (n, latent)."""
        return self.decoder(codes)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the decoder's mean at the mean of q(z | x), (n, *shape) in [-1, 1]."""
        return self.decode(self.encode(x))

    def posterior(self, z: Tensor) -> Tensor:
        """Return log p(k | z), (n, K)."""
        densities = normal_log_density(z[:, None], self.means, self.log_variances)
        return log_softmax(log_softmax(self.logits, 0) + densities, dim=1)

    def cluster(self, x: Tensor) -> Tensor:
        """Return log p(k | z) at the mean of q(z | x), (n, K)."""
        return self.posterior(self.encode(x))

    def log_likelihood_bound(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return what bounds log p(x) from below on average over the noise, in nats, (n,)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * batch["z"]
        q = self.posterior(z)
        codes = normal_divergence(mean[:, None], log_variance[:, None], self.means, self.log_variances)
        return -self.surprise(x, z) - (q.exp() * (codes + q - log_softmax(self.logits, 0))).sum(1)

    def vae_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Negative bound, averaged over the batch."""
        return -self.log_likelihood_bound(x, batch).mean()
