"""InfoGAN. Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel 2016, arXiv:1606.03657; code openai/InfoGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganbench.game import (
    Adam,
    Conv,
    Count,
    DataSpec,
    Game,
    Noise,
    NonNegativeInt,
    Penalty,
    Player,
    Published,
    Uniform,
)
from ganbench.game import Config as GameConfig
from ganbench.layers import BatchNorm1d, LeakyReLU, Network, one_hot, recalibrate_batch_norm
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating

RECOGNISER = 128  # hidden units of Q


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 62
    "size of z, the noise without a code"
    clusters: Count = 10
    "values of the categorical code"
    continuous: NonNegativeInt = 2
    "number of continuous codes, each uniform on (-1, 1)"
    information: Penalty = 1.0
    "weight of the information that the codes share with the image"
    learned_std: bool = False
    "let Q give the standard deviation of each continuous code, as in the paper; the code fixes it to 1"
    hidden: NonNegativeInt = 0
    "units of one more layer with batch norm after the codes in G and before the heads of D and Q; 0 is none"
    zero_one: bool = False
    "show D pixels in [0, 1]"


# Appendix C.1 and the released code: two layers of stride 2, 64 and 128 channels, and 1024 units beside the codes.
RELEASED = {
    "backbone": Conv(width=64, layers=2, critic_norm=True, critic_slope=0.01),
    "hidden": 1024,
    "zero_one": True,
}


class InfoGAN(Game):
    """GAN with codes that a network Q, sharing D's features, finds again in the images. Chen et al. 2016, eq. 6.

    As in the released code, both players gain from the bound on the information: the discriminator's step trains
    Q and the features it shares with D, the generator's step G alone; all codes have one weight. There the norm
    before the first maps of G has moments of each unit, here of each map.

    Q learns from generated images only, so that its norms hold moments of these; clusters are asked of real ones.
    After training `finalize` therefore gives the norms of D and Q the moments of the training images.
    """

    name = "infogan"
    players = (
        Player("discriminator", nets=("D", "Q"), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(1e-3, (0.5, 0.999))),
    )
    variants = {"infogan": {}, "infogan-2016": RELEASED}
    published = dict.fromkeys(
        ("infogan", "infogan-2016"),
        (
            Published(
                "mnist",
                "cluster-accuracy",
                0.95,
                math.nan,
                "Chen et al. 2016, section 7.2",
                comparable=False,
                note="an error of about 5 % in the text, no table; how categories were matched to digits, "
                "on which images, and over how many runs is not said",
            ),
        ),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone, codes = config.backbone, config.latent + config.clusters + config.continuous
        self.G: nn.Module = backbone.make_generator(config.hidden or codes, data.shape)
        self.D = backbone.make_critic(data.shape)
        if self.D.mask_size or (config.hidden and backbone.minibatch_kernels):
            raise ValueError(
                "InfoGAN needs a backbone without dropout, and with a hidden layer one without minibatch_kernels"
            )
        features = next(part.in_features for part in self.D.blocks[-1].modules() if isinstance(part, nn.Linear))
        if config.hidden:
            self.G = nn.Sequential(*self._layer(codes, config.hidden, nn.ReLU()), self.G)
            top = self._layer(features, config.hidden, self._leaky())
            head = self._scaled(nn.Linear(config.hidden, 1))
            blocks = [*self.D.blocks[:-1], nn.Sequential(nn.Flatten(), *top), head]
            self.D = Network(blocks, zero_one=self.D.zero_one)
            features = config.hidden
        self.D.zero_one = self.D.zero_one or config.zero_one
        outputs = config.clusters + config.continuous * (2 if config.learned_std else 1)
        self.Q = nn.Sequential(
            *self._layer(features, RECOGNISER, self._leaky()), self._scaled(nn.Linear(RECOGNISER, outputs))
        )

    def _leaky(self) -> nn.Module:
        backbone = self.config.backbone
        return LeakyReLU(backbone.critic_slope if isinstance(backbone, Conv) else 0.2)

    def _layer(self, inputs: int, outputs: int, activation: nn.Module) -> tuple[nn.Module, ...]:
        """Return a fully connected layer with batch norm."""
        linear = self._scaled(nn.Linear(inputs, outputs, bias=False))
        return linear, self._scaled(BatchNorm1d(outputs)), activation

    def _scaled(self, layer: nn.Linear | BatchNorm1d) -> nn.Module:
        """Return the layer with weights drawn as those of the convolutions, if there are any."""
        if isinstance(self.config.backbone, Conv):
            nn.init.normal_(layer.weight, float(isinstance(layer, BatchNorm1d)), self.config.backbone.init)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return layer

    def noise(self) -> dict[str, Noise]:
        laws: dict[str, Noise] = {"z": Uniform(self.config.latent, low=-1.0), "category": Uniform(1)}
        if self.config.continuous:
            laws["c"] = Uniform(self.config.continuous, low=-1.0)
        return laws

    def categories(self, noise: Mapping[str, Tensor]) -> Tensor:
        """Return the categorical codes of generated images, int64 (n,)."""
        # Rounding may carry the product to the number of clusters.
        return (noise["category"][:, 0] * self.config.clusters).long().clamp(max=self.config.clusters - 1)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        hot = one_hot(self.categories(noise), self.config.clusters, noise["z"])
        codes = [noise["z"], hot, noise["c"]] if self.config.continuous else [noise["z"], hot]
        return self.G(torch.cat(codes, 1))

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def recognise(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log Q of the categories (n, clusters), means and log standard deviations of the other codes."""
        out = self.Q(features)
        logits, rest = out[:, : self.config.clusters], out[:, self.config.clusters :]
        mean = rest[:, : self.config.continuous]
        log_std = rest[:, self.config.continuous :] if self.config.learned_std else torch.zeros_like(mean)
        return logits.log_softmax(1), mean, log_std

    def cluster(self, x: Tensor) -> Tensor:
        """Return log Q of the categories, (n, clusters)."""
        return self.recognise(self.D.features(x))[0]

    def encode(self, x: Tensor) -> Tensor:
        """Return Q of the categories and the means of the continuous codes, (n, clusters + continuous)."""
        log_q, mean, _ = self.recognise(self.D.features(x))
        return torch.cat([log_q.exp(), mean], 1)

    def information(self, features: Tensor, noise: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the bounds H(c) + E log Q(c | x), in nats: of the categorical code, of the others together."""
        log_q, mean, log_std = self.recognise(features)
        chosen = one_hot(self.categories(noise), self.config.clusters, log_q)
        categorical = math.log(self.config.clusters) + (log_q * chosen).sum(1).mean()
        if not self.config.continuous:
            return categorical, torch.zeros_like(categorical)
        error = (noise["c"] - mean) * (-log_std).exp()
        surprise = 0.5 * error.square() + log_std + 0.5 * math.log(2 * math.pi)
        return categorical, (math.log(2) - surprise).sum(1).mean()

    def _judge(self, noise: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return D's logits of the generated images and the weighted information, from the same features."""
        features = self.D.features(noise["fake"])
        categorical, continuous = self.information(features, noise)
        return self.D.blocks[-1](features), self.config.information * (categorical + continuous)

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of real against fake, not halved, less the information."""
        real = self.D(x)
        fake, information = self._judge(batch)
        return 2 * gan_discriminator(real, fake) - information

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake, information = self._judge(batch)
        return gan_generator_nonsaturating(fake) - information

    def finalize(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Give the norms of D and Q the moments of the training images."""
        for net in (self.D, self.Q):
            recalibrate_batch_norm(net, lambda x: self.Q(self.D.features(x)), images)
