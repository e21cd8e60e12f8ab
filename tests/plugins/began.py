"""BEGAN: a number that the game keeps from step to step balances its players."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from ganbench.game import Config, Count, Game, Normal, Player, Positive


@dataclass(frozen=True)
class BEGANConfig(Config):
    """Settings of BEGAN."""

    latent: Count = 64
    "size of z and of the codes"
    gamma: Positive = 0.5
    "diversity ratio E[L(G(z))] / E[L(x)] that is aimed at"
    gain: Positive = 0.001
    "lambda_k, the step of k"


class BEGAN(Game):
    """GAN of autoencoding errors, held at a ratio by a control variable k. Berthelot et al. 2017, section 3.4."""

    name = "began"
    players = (Player("discriminator", nets=("encoder", "decoder")), Player("generator", nets=("G",)))

    def __init__(self, data, config=BEGANConfig()):
        super().__init__(data, config)
        backbone = replace(config.backbone, generator_norm="none")  # the paper has no norms
        self.encoder = backbone.make_encoder(data.shape, config.latent)
        self.decoder = backbone.make_generator(config.latent, data.shape)
        self.G = backbone.make_generator(config.latent, data.shape)
        self.register_buffer("k", torch.zeros(()))

    def noise(self):
        return {"z": Normal(self.config.latent)}

    def sample(self, noise):
        return self.G(noise["z"])

    def precompute(self, batch):
        return {"fake": self.G(batch["z"])}

    def error(self, x):
        """Return L(x), the mean absolute error of the autoencoder."""
        return nn.functional.l1_loss(self.decoder(self.encoder(x)), x)

    def discriminator_loss(self, x, batch):
        real, fake = self.error(x), self.error(batch["fake"].detach())
        loss = real - self.k.clone() * fake  # a copy, because k changes before the gradient is taken
        with torch.no_grad():
            self.k.copy_((self.k + self.config.gain * (self.config.gamma * real - fake)).clamp(0, 1))
        return loss

    def generator_loss(self, x, batch):
        return self.error(batch["fake"])
