"""Adversarial autoencoder: two players move one encoder."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from ganbench.game import Config, Game, Normal, Player
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating

LATENT, WIDTH = 8, 64


class AdversarialAutoencoder(Game):
    """Autoencoder whose codes a critic holds against N(0, I). Makhzani et al. 2015, sections 2 and 2.1."""

    name = "aae"
    players = (
        Player("reconstruction", nets=("E", "G")),
        Player("discriminator", nets=("D",)),
        Player("generator", nets=("E",)),
    )

    def __init__(self, data, config=Config()):
        super().__init__(data, config)
        backbone = replace(config.backbone, generator_norm="none")  # a norm hides the mean of codes
        self.E = backbone.make_encoder(data.shape, LATENT)
        self.G = backbone.make_generator(LATENT, data.shape)
        self.D = nn.Sequential(nn.Linear(LATENT, WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, 1))

    def noise(self):
        return {"z": Normal(LATENT)}

    def sample(self, noise):
        return self.G(noise["z"])

    def encode(self, x):
        return self.E(x)

    def decode(self, codes):
        return self.G(codes)

    def reconstruct(self, x):
        return self.G(self.E(x))

    def reconstruction_loss(self, x, batch):
        return (self.reconstruct(x) - x).square().mean()

    def discriminator_loss(self, x, batch):
        return gan_discriminator(self.D(batch["z"]), self.D(self.E(x).detach()))

    def generator_loss(self, x, batch):
        return gan_generator_nonsaturating(self.D(self.E(x)))
