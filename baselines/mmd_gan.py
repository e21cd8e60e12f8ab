"""MMD-GANs, with kernels on learned codes: Li et al. 2017, arXiv:1705.08584; Binkowski et al. 2018."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn.functional import mse_loss

from ganbench.game import Adam, Count, DataSpec, Game, Noise, Normal, Penalty, Player, RMSprop, Uniform
from ganbench.game import Config as GameConfig
from ganbench.losses import gaussian, gradient_penalty, mmd, mmd2, rational_quadratic, squared_distances


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 10
    "size of z"
    codes: Count = 10
    "length of a code"
    bandwidths: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    "sigma of the kernels exp(-|x - y|^2 / (2 sigma^2)) on codes"
    reconstruction: Penalty = 8.0
    "weight of the autoencoder's mean squared error, on real and on generated x"
    hinge: Penalty = 16.0
    "weight of the ordering of the mean codes: real above generated"


class MMDGAN(Game):
    """MMD-GAN whose encoder has clipped weights and a decoder. Li et al. 2017, Algorithm 1 and released code."""

    name = "mmd-gan"
    players = (
        Player(
            "critic",
            nets=("encoder", "decoder"),
            optimiser=RMSprop(5e-5),
            steps=5,
            boost=100,
            boost_first=25,
            boost_every=500,
            clip=0.01,
            clip_nets=("encoder",),
        ),
        Player("generator", nets=("G",), optimiser=RMSprop(5e-5)),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.encoder = config.backbone.make_critic(data.shape, outputs=config.codes)
        # A norm would hide the mean code from the decoder, and so from every gradient.
        self.decoder = replace(config.backbone, generator_norm="none").make_generator(config.codes, data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes, (n, codes)."""
        return self.encoder(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images or vectors after their way through the codes."""
        return self.decoder(self.encoder(x))

    def discrepancy(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the root of the biased squared MMD between codes, less what their means are in wrong order."""
        variances = [sigma**2 for sigma in self.config.bandwidths]
        disorder = (fake.mean(0) - real.mean(0)).relu().mean()
        return mmd(lambda squared: gaussian(squared, variances), real, fake) - self.config.hinge * disorder

    def critic_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = batch["fake"]
        real_codes, fake_codes = self.encoder(x), self.encoder(fake)
        error = mse_loss(self.decoder(real_codes), x) + mse_loss(self.decoder(fake_codes), fake)
        return self.config.reconstruction * error - self.discrepancy(real_codes, fake_codes)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.discrepancy(self.encoder(x), self.encoder(batch["fake"]))


@dataclass(frozen=True)
class PenaltyConfig(GameConfig):
    latent: Count = 128
    "size of z"
    codes: Count = 16
    "length of a code"
    alphas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
    "orders of the rational quadratic kernels on codes"
    penalty: Penalty = 1.0
    "weight of (|gradient of the witness| - 1)^2"


class MMDGANGP(Game):
    """MMD-GAN with rational quadratic kernels and a gradient penalty on the witness. Binkowski et al. 2018."""

    name = "mmd-gan-gp"
    players = (
        Player("critic", nets=("D",), steps=5, optimiser=Adam(1e-4, (0.5, 0.9))),
        Player("generator", nets=("G",), optimiser=Adam(1e-4, (0.5, 0.9))),
    )

    def __init__(self, data: DataSpec, config: PenaltyConfig = PenaltyConfig()) -> None:
        super().__init__(data, config)
        self.config: PenaltyConfig = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        if config.backbone.critic_uses_batch_statistics:
            raise ValueError(
                "a gradient penalty needs backbone.critic_norm=false and backbone.minibatch_kernels=0"
            )
        self.D = config.backbone.make_critic(data.shape, outputs=config.codes)

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(self.config.latent), "mix": Uniform(1, training_only=True)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def kernel(self, squared: Tensor) -> Tensor:
        """Return the sum of the kernels, elementwise in squared distances of codes."""
        return rational_quadratic(squared, self.config.alphas)

    def critic_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = batch["fake"]
        real_codes, fake_codes = self.D(x), self.D(fake)

        def witness(points: Tensor) -> Tensor:
            """How much nearer points are to the real than to the generated batch, (n,)."""
            codes = self.D(points)
            near_real = self.kernel(squared_distances(codes, real_codes)).mean(1)
            return near_real - self.kernel(squared_distances(codes, fake_codes)).mean(1)

        penalty = gradient_penalty(witness, x, fake, batch["mix"])
        discrepancy = mmd2(self.kernel, real_codes, fake_codes, unbiased=True)
        return self.config.penalty * penalty - discrepancy

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return mmd2(self.kernel, self.D(x), self.D(batch["fake"]), unbiased=True)
