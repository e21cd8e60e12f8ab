"""VEEGAN. Srivastava, Valkov, Russell, Gutmann, Sutton 2017, arXiv:1705.07761."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganbench.game import MLP, Adam, Backbone, Count, DataSpec, Game, Noise, Normal, Player, Published, UserError
from ganbench.game import Config as GameConfig
from ganbench.losses import gan_discriminator

TABLE = {
    ("ring", "modes-captured"): 8,
    ("ring", "high-quality"): 0.529,
    ("grid", "modes-captured"): 24.6,
    ("grid", "high-quality"): 0.40,
    ("stacked-mnist", "stacked-modes@lenet-mnist-v1"): 150,
    ("stacked-mnist", "stacked-kl@lenet-mnist-v1"): 2.95,
}


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 254
    "size of z; 254 is that of the released toy"


class Joint(nn.Module):
    """A critic of pairs (x, z), which meet in fully connected layers; images pass the convolutions first.

    Args:
        backbone: whose critic it extends.
        shape: of x.
        latent: size of z.
        features: size of an image after its convolutions and of the hidden layer above; conv backbone only.
    """

    def __init__(self, backbone: Backbone, shape: tuple[int, ...], latent: int, features: int = 256) -> None:
        super().__init__()
        dense = isinstance(backbone, MLP)
        self.trunk = None if dense else backbone.make_encoder(shape, features)
        top = backbone if dense else MLP(critic=(features,))
        self.head = top.make_critic(((math.prod(shape) if dense else features) + latent,))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the logits (n, 1) of x (n, *shape) and z (n, latent)."""
        seen = x if self.trunk is None else leaky_relu(self.trunk(x), 0.2)
        return self.head(torch.cat([seen.flatten(1), z], 1))


class VEEGAN(Game):
    """GAN with a reconstructor of z that keeps G from dropping modes. Srivastava et al. 2017, Algorithm 1."""

    name = "veegan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(1e-3, (0.5, 0.999))),
        Player("reconstructor", nets=("R",), optimiser=Adam(1e-3, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(1e-3, (0.5, 0.999))),
    )
    published = {
        "veegan": tuple(
            Published(
                dataset,
                metric,
                value,
                math.nan,
                "Srivastava et al. 2017, table of mode collapse, mean of 5 runs",
                note="other networks and length of training"
                + ("; another classifier" if dataset == "stacked-mnist" else ""),
            )
            for (dataset, metric), value in TABLE.items()
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.R = config.backbone.make_encoder(data.shape, config.latent)
        self.D = Joint(config.backbone, data.shape, config.latent)

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        raise UserError("feature_matching needs a critic of images alone; that of veegan judges pairs")

    def noise(self) -> dict[str, Noise]:
        # "code" is the unit noise of the reconstructor, whose output is sampled where D sees it.
        return {"z": Normal(self.config.latent), "code": Normal(self.config.latent, training_only=True)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def encode(self, x: Tensor) -> Tensor:
        """Return the mean of z, (n, latent)."""
        return self.R(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return G at the mean of z, (n, *shape)."""
        return self.G(self.R(x))

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Logistic loss with (G(z), z) as class 1, so that D estimates log of generated over real pairs."""
        return gan_discriminator(self.D(batch["fake"], batch["z"]), self.D(x, self.R(x) + batch["code"]))

    def reconstructor_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """-E log N(z; R(G(z)), 1), in nats, summed over z."""
        error = batch["z"] - self.R(batch["fake"])
        return 0.5 * (error.square() + math.log(2 * math.pi)).sum(1).mean()

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.D(batch["fake"], batch["z"]).mean() + self.reconstructor_loss(x, batch)
