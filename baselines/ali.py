"""Adversarially learned inference. Dumoulin et al. 2017, arXiv:1606.00704; Li et al. 2018, arXiv:1804.03429."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganbench.game import (
    MLP,
    Adam,
    Conv,
    Count,
    DataSpec,
    Game,
    Noise,
    NonNegative,
    Normal,
    Player,
    Published,
    UserError,
)
from ganbench.game import Config as GameConfig
from ganbench.graphical import Joint
from ganbench.losses import pair_critic, pair_generator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 64
    "size of z"
    encoder: Literal["gaussian", "deterministic", "implicit"] = "gaussian"
    "q(z | x): Gaussian with diagonal covariance, a function of x, or a function of x and as much noise as z"
    critic_noise: NonNegative = 0.0
    "standard deviation of the normal noise on all that the critic sees"


@dataclass(frozen=True)
class MixtureConfig(Config):
    clusters: Count = 30
    "number K of Gaussians"
    covariance: Literal["diag", "full"] = "diag"
    "form of their covariances, which Li et al. leave open"


# The released code takes another minibatch for each player; here both first steps are on the same one.
GAN_G: dict[str, Any] = {
    "encoder": "deterministic",
    "latent": 128,
    "simultaneous": False,
    "discriminator.optimiser": Adam(2e-4),
    "generator.optimiser": Adam(2e-4),
}
# The released MNIST networks, but for N(0, 0.02^2) weights of the convolutions instead of Glorot's, pixels in
# [-1, 1] instead of [0, 1], and batch norm per map instead of per unit behind G's linear layer.
GAN_G_2018 = {**GAN_G, "backbone": Conv(width=64, kernel=5, layers=3, critic_norm=True, encoder_norm=True)}
MIXTURES = {
    "backbone": MLP(generator=(400,) * 4, critic=(200,) * 3, critic_activation="maxout", init_law="normal"),
    "backbone.generator_init": 0.02,
    "backbone.critic_init": 0.02,
    "encoder": "implicit",
    "latent": 2,
    "batch": 100,
    "discriminator.optimiser": Adam(1e-4, (0.8, 0.999)),
    "generator.optimiser": Adam(1e-4, (0.8, 0.999)),
}
# dataset, metric, value and error of Lin et al. 2018, value of Srivastava et al. 2017
MODES = (
    ("ring", "modes-captured", 6.6, 0.3, 2.8),
    ("ring", "high-quality", 0.976, 0.004, 0.0013),
    ("ring", "mode-kl", 0.36, 0.04, math.nan),
    ("grid", "modes-captured", 24.1, 0.4, 15.8),
    ("grid", "high-quality", 0.957, 0.006, 0.016),
    ("grid", "mode-kl", 0.14, 0.03, math.nan),
    ("stacked-mnist", "stacked-modes@lenet-mnist-v1", math.nan, math.nan, 16),
    ("stacked-mnist", "stacked-kl@lenet-mnist-v1", math.nan, math.nan, 5.4),
)
TABLES = [
    Published(dataset, metric, value, error, f"{paper}, ALI row", note="other networks and length of training")
    for dataset, metric, lin, spread, other in MODES
    for paper, value, error in (("Lin et al. 2018", lin, spread), ("Srivastava et al. 2017", other, math.nan))
    if not math.isnan(value)
]
OWN = "Dumoulin et al. 2017; +- is over 10 choices of hyperparameters"
TABLES += [Published("grid", "modes-captured", 13.4, 5.8, OWN, False, "one of 10,000 samples is enough")]
INCEPTION, ROW = "inception-score@inception-2015", "Li et al. 2018, Table 1, row GAN-G"
OPEN = "convolutional networks and 200,000 rounds there, K = 30; form of the covariances and split not stated"
GMM = (
    Published("mnist", "exemplar-accuracy-test", 0.7027, 0.005, f"{ROW}+GMM", note=OPEN, protocol="K=30"),
    Published("mnist", "reconstruction-mse", 0.071, 0.001, f"{ROW}+GMM", note=OPEN),
    Published("cifar10", INCEPTION, 5.26, 0.05, f"{ROW}+GMM"),
)


class ALI(Game):
    """GAN of pairs: a critic tells (x, E(x)) from (G(z), z). Dumoulin et al. 2017, eq. 4, released losses.

    Each kind of pair is a batch of its own, as in Li et al.'s code; Dumoulin et al. join them, which norms notice.
    """

    name = "ali"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(1e-4, (0.5, 0.999))),
        Player("generator", nets=("G", "E"), optimiser=Adam(1e-4, (0.5, 0.999))),
    )
    variants = {
        "ali": {},
        "gan-g": GAN_G,
        "gan-g-2018": GAN_G_2018,
        "ali-mixtures": MIXTURES,
        "ali-ema": {"ema": 0.999},
    }
    published = {
        **dict.fromkeys(("ali", "ali-mixtures"), tuple(TABLES)),
        "gan-g": (Published("cifar10", INCEPTION, 5.34, 0.05, f"{ROW}, quoted there"),),
    }

    def __init__(self, data: DataSpec, config: Config = Config(simultaneous=True)) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone, latent = config.backbone, config.latent
        self.G = backbone.make_generator(latent, data.shape)
        self.E: nn.Module
        if config.encoder == "implicit":
            dense = backbone if isinstance(backbone, MLP) else MLP()
            self.E = replace(dense, generator=(400, 400)).make_generator(data.mean.numel() + latent, (latent,))
        else:
            self.E = backbone.make_encoder(data.shape, latent * (2 if config.encoder == "gaussian" else 1))
        self.D = Joint(backbone, [data.shape, (latent,)], (512, 512), (512, 512))

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        raise UserError("feature_matching needs a critic of images alone; that of ALI judges pairs")

    def noise(self) -> dict[str, Noise]:
        laws: dict[str, Noise] = {"z": Normal(self.config.latent)}
        if self.config.encoder != "deterministic":
            laws["code"] = Normal(self.config.latent, training_only=True)
        if self.config.critic_noise:
            size = self.data.mean.numel() + self.config.latent
            laws |= {f"blur_{side}": Normal(size, training_only=True) for side in "qp"}
        return laws

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def decode(self, codes: Tensor) -> Tensor:
        """Return G of the codes (n, latent), (n, *shape)."""
        return self.G(codes)

    def infer(self, x: Tensor, batch: Tensor | None) -> Tensor:
        """Return a draw of z given x from standard normal noise (n, latent); at noise 0 if there is none."""
        if self.config.encoder == "deterministic":
            return self.E(x)
        batch = x.new_zeros(len(x), self.config.latent) if batch is None else batch
        if self.config.encoder == "implicit":
            return self.E(torch.cat([x.flatten(1), batch], 1))
        mean, log_deviation = self.E(x).chunk(2, dim=1)
        return mean + log_deviation.exp() * batch

    def encode(self, x: Tensor) -> Tensor:
        """Return z at noise 0, for a Gaussian its mean, (n, latent)."""
        return self.infer(x, None)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return G(E(x)), (n, *shape)."""
        return self.G(self.encode(x))

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def judge(self, x: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits of (x, E(x)) and of (G(z), z), (n, 1) each."""
        q = self._judge(x, self.infer(x, batch.get("code")), batch.get("blur_q"))
        return q, self._judge(batch["fake"], batch["z"], batch.get("blur_p"))

    def _judge(self, x: Tensor, z: Tensor, blur: Tensor | None) -> Tensor:
        if blur is None:
            return self.D(x, z)
        of_x, of_z = (self.config.critic_noise * blur).split([self.data.mean.numel(), z.shape[1]], 1)
        return self.D(x + of_x.reshape(x.shape), z + of_z)

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return pair_critic(*self.judge(x, batch))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return pair_generator(*self.judge(x, batch))


class ALIMixture(ALI):
    """GAN-G whose codes are clustered by a Gaussian mixture once it is trained. Li et al. 2018, GAN-G+GMM."""

    name = "ali-gmm"
    variants = {"ali-gmm": GAN_G, "ali-gmm-2018": GAN_G_2018}
    published = {"ali-gmm": GMM, "ali-gmm-2018": GMM}

    def __init__(self, data: DataSpec, config: MixtureConfig = MixtureConfig()) -> None:
        super().__init__(data, config)
        self.config: MixtureConfig = config
        self.register_buffer("weights", torch.full((config.clusters,), 1 / config.clusters))
        self.register_buffer("means", torch.zeros(config.clusters, config.latent))
        # Upper triangular R_k with R_k R_k^T the inverse covariance.
        self.register_buffer("roots", torch.eye(config.latent).repeat(config.clusters, 1, 1))

    def finalize(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning  # slow to import, needed here only
        from sklearn.mixture import GaussianMixture

        with torch.no_grad():
            codes = torch.cat([self.encode(part) for part in images.split(1000)])
        form, count = self.config.covariance, min(self.config.clusters, len(codes))
        mixture = GaussianMixture(count, covariance_type=form, random_state=seed % 2**32)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            mixture.fit(codes.cpu().double().numpy())
        fitted = (mixture.weights_, mixture.means_, mixture.precisions_cholesky_)
        self.weights, self.means, roots = (torch.from_numpy(array).to(codes) for array in fitted)
        self.roots = roots.diag_embed() if form == "diag" else roots

    def cluster(self, x: Tensor) -> Tensor:
        """Return log p(k | E(x)) under the fitted mixture, float64 (n, clusters)."""
        codes, means, roots = (tensor.double() for tensor in (self.encode(x), self.means, self.roots))
        white = torch.einsum("nd,kde->nke", codes, roots) - torch.einsum("kd,kde->ke", means, roots)
        height = self.weights.double().log() + roots.diagonal(dim1=1, dim2=2).log().sum(1)
        return (height - 0.5 * white.square().sum(2)).log_softmax(1)
