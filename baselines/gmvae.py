"""Gaussian mixture VAE. Dilokthanakul et al. 2016, arXiv:1611.02648, and its released code in both versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from ganbench.game import Adam, Count, DataSpec, Game, Noise, NonNegative, Normal, Player, Published, Uniform
from ganbench.game import Config as GameConfig
from ganbench.layers import BatchNorm1d, BatchNorm2d, Generator
from ganbench.losses import normal_divergence, normal_log_density


@dataclass(frozen=True)
class Config(GameConfig):
    clusters: Count = 10
    "number K of clusters"
    latent: Count = 20
    "size of the code z"
    style: Count = 10
    "size of w, which moves the clusters' means and variances"
    hidden: Count = 100
    "hidden width of the network from w to p(z | w, k)"
    recognition: Literal["bayes", "network"] = "bayes"
    "q(k): p(k | z, w) by Bayes' rule at the sampled z and w (second version), or a network of x (first)"
    free_bits: NonNegative = 0.5
    "nats below which the batch mean of KL(q(k) || p(k)) costs nothing more"
    alpha: NonNegative = 0.0
    "weight of the entropy of p(k | z, w)"


@dataclass(frozen=True)
class ConvConfig(Config):
    clusters: Count = 30
    "number K of clusters"
    latent: Count = 200
    "size of the code z"
    style: Count = 150
    "size of w, which moves the clusters' means and variances"
    hidden: Count = 500
    "hidden width of the network from w to p(z | w, k)"


THIRTY = "K = 30, as cited by Li et al. 2018"


def _published(value: float, error: float, row: str, note: str, clusters: int) -> tuple[Published, ...]:
    source = f"Dilokthanakul et al. 2016, M = 1, {row}; +- is over runs"
    protocol = f"K={clusters}"
    return (Published("mnist", "exemplar-accuracy-test", value, error, source, note=note, protocol=protocol),)


class GMVAE(Game):
    """VAE whose code has a mixture prior that a second code moves. Dilokthanakul et al. 2016, section 3.

    Cluster k is uniform, w ~ N(0, I), z | w, k ~ N(mean_k(w), variance_k(w)), image x | z Bernoulli with grey
    levels as probabilities; the paper writes y, x, w, z for x, z, w, k here. k is summed out, z and w are drawn
    once. Gradients are those of the loss as printed; the released second version seems to flip a sign.
    """

    name = "gmvae"
    players = (Player("vae", nets=("encoder", "decoder", "prior"), optimiser=Adam(1e-3, (0.9, 0.999))),)
    variants = {"gmvae": {}, "gmvae-alpha": {"recognition": "network", "free_bits": 0.0, "alpha": 0.4}}
    published = {
        "gmvae": _published(0.9277, 0.0160, THIRTY, "convolutional networks and 100 epochs there", 30),
        "gmvae-alpha": _published(
            0.7447, 0.1020, "first version, K = 10", "conv networks, rate 1e-4; the best run has .8771", 10
        ),
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if not data.bounded:
            raise ValueError(f"its Bernoulli likelihood needs images, got shape {data.shape}")
        logits = config.clusters if config.recognition == "network" else 0
        self.encoder, self.decoder = self.make_networks(2 * (config.latent + config.style) + logits)
        outputs = nn.Linear(config.hidden, 2 * config.clusters * config.latent)
        self.prior = nn.Sequential(nn.Linear(config.style, config.hidden), nn.Tanh(), outputs)

    def make_networks(self, outputs: int) -> tuple[nn.Module, Generator]:
        """Return the encoder to (n, outputs) and the decoder of z."""
        backbone, shape = self.config.backbone, self.data.shape
        return backbone.make_encoder(shape, outputs), backbone.make_generator(self.config.latent, shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent), "w": Normal(self.config.style), "cluster": Uniform(1)}

    def components(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log variances of p(z | w, k), each (n, K, latent)."""
        mean, log_variance = self.prior(w).unflatten(1, (self.config.clusters, -1)).chunk(2, dim=2)
        return mean, log_variance

    def recognise(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return mean and log variance of q(z | x), then of q(w | x), and the logits of q(k | x) if there are."""
        latent, style = self.config.latent, self.config.style
        outputs = self.encoder(x)
        return outputs.split([latent, latent, style, style, outputs.shape[1] - 2 * (latent + style)], dim=1)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        count = self.config.clusters
        mean, log_variance = self.components(noise["w"])
        # Rounding may carry the product to the number of clusters.
        k = (noise["cluster"] * count).long().clamp(max=count - 1)
        rows = torch.arange(len(k), device=k.device)
        return self.decode(mean[rows, k[:, 0]] + (0.5 * log_variance[rows, k[:, 0]]).exp() * noise["z"])

    def encode(self, x: Tensor) -> Tensor:
        """Return the mean of q(z | x), (n, latent)."""
        return self.recognise(x)[0]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the means (n, *shape) in [-1, 1] of images with codes (n, latent)."""
        return self.decoder(codes)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the decoder's mean at the mean of q(z | x), (n, *shape) in [-1, 1]."""
        return self.decode(self.encode(x))

    def posterior(self, z: Tensor, w: Tensor) -> Tensor:
        """Return log p(k | z, w), (n, K)."""
        return log_softmax(normal_log_density(z[:, None], *self.components(w)), dim=1)

    def cluster(self, x: Tensor) -> Tensor:
        """Return log q(k), (n, K); by Bayes' rule it is taken at the means of z and w."""
        z, _, w, _, logits = self.recognise(x)
        return self.posterior(z, w) if self.config.recognition == "bayes" else log_softmax(logits, dim=1)

    def costs(self, x: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return in nats, each (n,): surprise at x plus the divergences of z and w, that of k, entropy of k."""
        mean, log_variance, style, style_log_variance, logits = self.recognise(x)
        z = mean + (0.5 * log_variance).exp() * batch["z"]
        w = style + (0.5 * style_log_variance).exp() * batch["w"]
        means, log_variances = self.components(w)
        bayes = log_softmax(normal_log_density(z[:, None], means, log_variances), dim=1)
        q = bayes if self.config.recognition == "bayes" else log_softmax(logits, dim=1)
        pixels = ((x + 1) / 2).flatten(1)
        outputs = self.decoder.logits(z).flatten(1)
        surprise = binary_cross_entropy_with_logits(outputs, pixels, reduction="none").sum(1)
        apart = normal_divergence(mean[:, None], log_variance[:, None], means, log_variances)
        codes = (q.exp() * apart).sum(1) + normal_divergence(style, style_log_variance)
        clusters = (q.exp() * (q + math.log(self.config.clusters))).sum(1)
        return surprise + codes, clusters, -(bayes.exp() * bayes).sum(1)

    def vae_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Negative bound in nats per image, with free bits for k and alpha times the entropy of p(k | z, w)."""
        fixed, clusters, entropy = self.costs(x, batch)
        return fixed.mean() + clusters.mean().clamp(min=self.config.free_bits) + self.config.alpha * entropy.mean()

    def log_likelihood_bound(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return what bounds log p(x) from below on average over the noise, in nats, (n,)."""
        fixed, clusters, _ = self.costs(x, batch)
        return -(fixed + clusters)


class GMVAE2016(GMVAE):
    """GMVAE with free bits on the convolutional networks of its released MNIST code, K = 30.

    Images narrower than 16 pixels have kernels of side 3 where the code has 6.
    """

    name = "gmvae-2016"
    players = (Player("vae", nets=("encoder", "decoder", "prior"), optimiser=Adam(1e-4, (0.9, 0.999))),)
    variants = {"gmvae-2016": {}}
    published = {
        "gmvae-2016": _published(0.9277, 0.0160, THIRTY, "100 epochs of 60,000 images in batches of 50", 30)
    }
    config: ConvConfig

    def __init__(self, data: DataSpec, config: ConvConfig = ConvConfig()) -> None:
        super().__init__(data, config)

    def make_networks(self, outputs: int) -> tuple[nn.Module, Generator]:
        shape = self.data.shape
        kernel = 6 if shape[1] >= 16 else 3
        side, odd = divmod(shape[1] - 2 * (kernel - 1), 2)
        if shape[1] != shape[2] or odd or side < 1:
            raise ValueError(f"its networks need square images of even size >= 6, got shape {shape}")
        # (channels in, channels out, kernel, stride, padding), from the image to one cell; the decoder goes back.
        plan = [(shape[0], 16, kernel, 1, 0), (16, 32, kernel, 1, 0), (32, 64, 4, 2, 1), (64, 500, side, 1, 0)]
        encoder: list[nn.Module] = []
        for inputs, width, size, stride, padding in plan:
            encoder += [nn.Conv2d(inputs, width, size, stride, padding, bias=False), BatchNorm2d(width), nn.ReLU()]
        decoder: list[nn.Module] = [nn.Linear(self.config.latent, 500, bias=False), BatchNorm1d(500), nn.ReLU()]
        decoder += [nn.Unflatten(1, (500, 1, 1))]
        for width, inputs, size, stride, padding in plan[:0:-1]:
            layer = nn.ConvTranspose2d(inputs, width, size, stride, padding, bias=False)
            decoder += [layer, BatchNorm2d(width), nn.ReLU()]
        decoder += [nn.ConvTranspose2d(16, shape[0], kernel), nn.Flatten()]
        head = nn.Linear(500, outputs)
        return nn.Sequential(*encoder, nn.Flatten(), head), Generator(nn.Sequential(*decoder), shape)
