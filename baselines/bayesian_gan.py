"""Bayesian GAN. Saatchi and Wilson 2017, arXiv:1705.09558; and an ensemble of independent GANs as its control."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from ganbench.game import (
    SGHMC,
    Adam,
    Count,
    DataSpec,
    Game,
    Noise,
    NonNegative,
    Normal,
    Player,
    Uniform,
)
from ganbench.game import Config as GameConfig
from ganbench.layers import Network
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating, gaussian_prior


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"
    generators: Count = 10
    "generators per chain, J_g"
    discriminators: Count = 1
    "discriminators per chain, J_d"
    chains: Count = 2
    "chains, M"
    rule: Literal["posterior", "released", "independent"] = "posterior"
    "minus the logarithm of the posterior, what the authors' code minimises, or plain GANs"
    prior_precision: NonNegative = 0.1
    "1 / variance of the normal prior of every parameter; 0 is a flat prior"


# Friction and rate that the released code writes into its noise, whatever its optimiser does.
RELEASED_FRICTION, RELEASED_RATE = 0.01, 2e-4


class BayesianGAN(Game):
    """Generators and discriminators sampled from their posteriors, and images pooled. Saatchi and Wilson 2017.

    Rule "posterior": a chain's discriminators have the likelihood D(x) (1 - D(G(z))) of data and of images of its
    generators, each generator with weight 1 / J_g; its generators have D(G(z)); all to the power N, the number of
    training images. The losses are minus log posterior / N, so that the learning rate is the paper's eta times N
    and suits data sets of any size. The paper averages posteriors over partners, this game their logarithms: an
    average of N-th powers is all but its largest term, the partner that already loses most. After a burn-in by
    Adam SGHMC samples at a temperature at which its noise does not drown the weights within thousands of steps;
    the posterior's own is 1 / N. What is evaluated are the last weights: an average of SGHMC's iterates is no
    sample of the posterior.

    Rule "released" is the authors' code for images: every discriminator meets the generators of all chains, the
    loss is log sum exp over partners, generators also match features, and the noise hardly moves Adam. Its rate is
    that of the code after one epoch. Each network has one noise draw per step, there one per partner.

    "gan-ensemble" is 10 chains of one pair each without prior and noise: independent GANs.
    """

    name = "bayesian-gan"
    players = (
        Player("discriminator", nets=("D",), optimiser=SGHMC(adam=Adam(1e-3, (0.5, 0.999)))),
        Player("generator", nets=("G",), optimiser=SGHMC(adam=Adam(1e-3, (0.5, 0.999)))),
    )
    variants = {
        "bayesian-gan": {},
        "bayesian-gan-released": {
            "rule": "released",
            "prior_precision": 1.0,
            "discriminator.optimiser": Adam(2.5e-4, (0.5, 0.999)),
            "generator.optimiser": Adam(2.5e-4, (0.5, 0.999)),
        },
        "gan-ensemble": {
            "rule": "independent",
            "generators": 1,
            "chains": 10,
            "discriminator.optimiser": Adam(2e-4, (0.5, 0.999)),
            "generator.optimiser": Adam(2e-4, (0.5, 0.999)),
        },
    }

    size: Tensor

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone = config.backbone
        if config.rule == "independent" and (config.generators, config.discriminators) != (1, 1):
            raise ValueError("independent GANs are chains of one generator and one discriminator")
        self.G = nn.ModuleList(
            backbone.make_generator(config.latent, data.shape) for _ in range(config.chains * config.generators)
        )
        self.D = nn.ModuleList(
            backbone.make_critic(data.shape) for _ in range(config.chains * config.discriminators)
        )
        if config.instance_noise or any(critic.mask_size for critic in self.D):
            raise ValueError("the networks of a Bayesian GAN take neither instance noise nor dropout")
        self.register_buffer("size", torch.tensor(math.nan))

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Count the training images, N."""
        self.size.fill_(len(images))

    def noise(self) -> dict[str, Noise]:
        # Each generator draws a z of its own, as in the released code.
        laws: dict[str, Noise] = {"z": Normal(len(self.G), self.config.latent), "which": Uniform(1)}
        if self.config.rule == "released":
            for player, nets in (("discriminator", self.D), ("generator", self.G)):
                laws[f"force_{player}"] = Normal(sum(p.numel() for p in nets.parameters()), per_step=True)
        return laws

    def _generate(self, noise: Mapping[str, Tensor]) -> Tensor:
        """Return the images of every generator, (networks, n, *shape)."""
        return torch.stack([generator(noise["z"][:, index]) for index, generator in enumerate(self.G)])

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        count = len(self.G)
        which = (noise["which"][:, 0] * count).long().clamp(max=count - 1)
        return self._generate(noise)[which, torch.arange(len(which), device=which.device)]

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self._generate(batch)}

    def _meet(self, generator: int, discriminator: int) -> bool:
        """Return whether two networks play against each other."""
        same = generator // self.config.generators == discriminator // self.config.discriminators
        return same or self.config.rule == "released"

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        losses = []
        for index, critic in enumerate(self.D):
            real = critic(x)
            fakes = [critic(fake) for g, fake in enumerate(batch["fake"]) if self._meet(g, index)]
            if self.config.rule == "released":
                # The real term counts once per generator of a chain, inside each term of the sum.
                surprise = self.config.generators * gan_generator_nonsaturating(real)
                parts = [surprise + gan_generator_nonsaturating(-fake) for fake in fakes]
                losses.append(torch.stack(parts).logsumexp(0))
            else:
                halved = torch.stack([gan_discriminator(real, fake) for fake in fakes]).mean()
                losses.append(halved if self.config.rule == "independent" else 2 * halved)
        return torch.stack(losses).sum() + self._bayes("discriminator", self.D, batch)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        losses = []
        for index, fake in enumerate(batch["fake"]):
            critics = [cast(Network, critic) for d, critic in enumerate(self.D) if self._meet(index, d)]
            parts = torch.stack([gan_generator_nonsaturating(critic(fake)) for critic in critics])
            if self.config.rule == "released":
                gaps = [huber_loss(critic.features(fake), critic.features(x)) for critic in critics]
                losses.append((parts + torch.stack(gaps)).logsumexp(0))
            else:
                losses.append(parts.mean())
        return torch.stack(losses).sum() + self._bayes("generator", self.G, batch)

    def _bayes(self, name: str, networks: nn.ModuleList, noise: Mapping[str, Tensor]) -> Tensor | float:
        """Return what makes a player's loss Bayesian: the prior of all its networks, and released noise, / N."""
        if self.config.rule == "independent":
            return 0.0
        parameters = list(networks.parameters())
        if self.config.rule == "posterior":
            return gaussian_prior(parameters, self.config.prior_precision) / self.size
        scale = math.sqrt(2 * RELEASED_FRICTION * RELEASED_RATE)
        force = torch.cat([parameter.flatten() for parameter in parameters]) @ noise[f"force_{name}"] * scale
        means = torch.stack([parameter.square().mean() for parameter in parameters])
        return (self.config.prior_precision * means.sum() + force) / self.size
