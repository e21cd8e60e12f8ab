"""Variational auto-encoder. Kingma and Welling 2014, arXiv:1312.6114."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Player, Published
from ganbench.game import Config as GameConfig


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 20
    "size of z"
    decoder: Literal["bernoulli", "gaussian"] = "bernoulli"
    "p(x | z): Bernoulli with grey levels as probabilities, or Gaussian with one learned scale, on [0, 1] pixels"


class VAE(Game):
    """Variational auto-encoder; samples are decoder means. Kingma and Welling 2014, eq. 10."""

    name = "vae"
    players = (Player("vae", nets=("encoder", "decoder", "log_scale"), optimiser=Adam(1e-3, (0.9, 0.999))),)
    variants = {"vae": {}, "vae-gaussian": {"decoder": "gaussian"}}
    published = {
        "vae-gaussian": (
            Published(
                "mnist",
                "parzen-fgan",
                445,
                5.36,
                "Nowozin et al. 2016, KDE table for MNIST; +- is the standard error over test images",
                comparable=False,
                note="the paper's absolute scale is not that of 16,000 kernels on pixels in [0, 1]: "
                "compare the order and the gap to the row real-train",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.encoder = config.backbone.make_encoder(data.shape, 2 * config.latent)
        self.decoder = config.backbone.make_generator(config.latent, data.shape)
        if config.decoder == "gaussian":
            self.log_scale = nn.Parameter(torch.tensor(-1.0))

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.decoder(noise["z"])

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior mean of z, (n, latent)."""
        return self.encoder(x).chunk(2, dim=1)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the decoder's mean at codes (n, latent), (n, *shape) in [-1, 1]."""
        return self.decoder(codes)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the decoder's mean at the posterior mean, (n, *shape) in [-1, 1]."""
        return self.decode(self.encode(x))

    def vae_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Negative evidence lower bound: nats per image, summed over pixels, averaged over the batch."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * batch["z"]
        logits = self.decoder.logits(z).flatten(1)
        pixels = ((x + 1) / 2).flatten(1)
        if self.config.decoder == "bernoulli":
            surprise = binary_cross_entropy_with_logits(logits, pixels, reduction="none")
        else:
            error = (pixels - logits.sigmoid()) * (-self.log_scale).exp()
            surprise = 0.5 * error.square() + self.log_scale + 0.5 * math.log(2 * math.pi)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        return (surprise.sum(1) + divergence.sum(1)).mean()
