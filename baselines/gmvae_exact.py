"""Gaussian mixture VAE that sums over its clusters. Shu 2016, github.com/RuiShu/vae-clustering, gmvae.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from ganbench.game import MLP, Adam, Count, DataSpec, Game, Noise, Normal, Player, Uniform
from ganbench.game import Config as GameConfig
from ganbench.losses import normal_divergence


@dataclass(frozen=True)
class Config(GameConfig):
    clusters: Count = 10
    "number K of clusters"
    latent: Count = 64
    "size of z"


class GMVAEExact(Game):
    """VAE with a Gaussian mixture as prior that decodes its code for every cluster k and weighs it by q(k | x).

    p(k) is uniform. Images are binarised afresh at every step, and shown as they are afterwards. The released code
    draws KL(q(z | x, k) || p(z | k)) where it stands here in closed form, and has softplus variances.
    """

    name = "gmvae-exact"
    players = (
        Player("vae", nets=("classifier", "encoder", "decoder", "prior"), optimiser=Adam(1e-3, (0.9, 0.999))),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if not data.bounded:
            raise ValueError(f"its Bernoulli likelihood needs images, got shape {data.shape}")
        backbone, shape, count = config.backbone, data.shape, config.clusters
        self.dense = isinstance(backbone, MLP)
        # k joins x as numbers beside its pixels, or as one more map per cluster.
        joined = (data.mean.numel() + count,) if self.dense else (shape[0] + count, *shape[1:])
        self.classifier = backbone.make_encoder(shape, count)
        self.encoder = backbone.make_encoder(joined, 2 * config.latent)
        self.decoder = backbone.make_generator(config.latent, shape)
        self.prior = nn.Linear(count, 2 * config.latent)

    def noise(self) -> dict[str, Noise]:
        return {
            "z": Normal(self.config.latent),
            "cluster": Uniform(1),
            "grey": Uniform(*self.data.shape, training_only=True),
        }

    def components(self) -> tuple[Tensor, Tensor]:
        """Return means and log variances of p(z | k), each (K, latent)."""
        weight = self.prior.weight
        marks = torch.eye(self.config.clusters, device=weight.device, dtype=weight.dtype)
        mean, log_variance = self.prior(marks).chunk(2, dim=1)
        return mean, log_variance

    def recognise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log variances of q(z | x, k) for every k, each (n, K, latent)."""
        count = self.config.clusters
        x = x.flatten(1) if self.dense else x
        marks = torch.eye(count, device=x.device, dtype=x.dtype).reshape(1, count, count, *[1] * (x.dim() - 2))
        every = x[:, None].expand(-1, count, *x.shape[1:])
        joined = torch.cat([every, marks.expand(len(x), count, count, *x.shape[2:])], dim=2)
        mean, log_variance = self.encoder(joined.flatten(0, 1)).unflatten(0, (-1, count)).chunk(2, dim=2)
        return mean, log_variance

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        count = self.config.clusters
        mean, log_variance = self.components()
        # Rounding may carry the product to the number of clusters.
        k = (noise["cluster"][:, 0] * count).long().clamp(max=count - 1)
        return self.decode(mean[k] + (0.5 * log_variance[k]).exp() * noise["z"])

    def cluster(self, x: Tensor) -> Tensor:
        """Return log q(k | x), (n, K)."""
        return log_softmax(self.classifier(x), dim=1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the mean of q(z | x, k) of the most probable k, (n, latent)."""
        k = self.classifier(x).argmax(1)
        return self.recognise(x)[0][torch.arange(len(x), device=x.device), k]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the means (n, *shape) in [-1, 1] of images with codes (n, latent)."""
        return self.decoder(codes)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the decoder's mean at the code, (n, *shape) in [-1, 1]."""
        return self.decode(self.encode(x))

    def log_likelihood_bound(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return what bounds log p(x) from below on average over the noise, in nats, (n,)."""
        q, (mean, log_variance) = self.cluster(x), self.recognise(x)
        # One draw serves every k: each term needs its own law only.
        z = mean + (0.5 * log_variance).exp() * batch["z"][:, None]
        logits = self.decoder.logits(z.flatten(0, 1)).flatten(1)
        pixels = ((x + 1) / 2).flatten(1).repeat_interleave(self.config.clusters, dim=0)
        surprise = binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(1)
        cost = surprise.unflatten(0, q.shape) + normal_divergence(mean, log_variance, *self.components())
        return -(q.exp() * (cost + q + math.log(self.config.clusters))).sum(1)

    def vae_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Negative bound of binarised images, averaged over the batch."""
        binary = (batch["grey"] < (x + 1) / 2).to(x.dtype)
        return -self.log_likelihood_bound(2 * binary - 1, batch).mean()
