"""f-GAN: any f-divergence by its variational bound. Nowozin, Cseke, Tomioka 2016, arXiv:1606.00709."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ganbench.game import MLP, Adam, Count, DataSpec, Game, Noise, Player, Published, Uniform
from ganbench.game import Config as GameConfig
from ganbench.losses import divergence


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z ~ U(-1, 1)"
    divergence: Literal[
        "kl",
        "reverse-kl",
        "pearson",
        "neyman",
        "squared-hellinger",
        "jeffrey",
        "jensen-shannon",
        "weighted-jensen-shannon",
        "gan",
        "alpha",
        "total-variation",
    ] = "kl"
    "which f"
    alpha: float = 0.5
    "order of the alpha-divergence, neither 0 nor 1"
    pi: float = 0.3
    "weight of the data in the weighted Jensen-Shannon divergence, in (0, 1)"
    cost: Literal["bound", "alternative"] = "bound"
    "generator minimises the bound (eq. 6) or maximises E g(V) on its samples (section 3.2)"
    simultaneous: bool = True
    "Algorithm 1 takes one gradient of the bound for both players"


# The networks and the batch of the paper's MNIST experiment, an hour per divergence.
PAPER_2016 = {
    "divergence": "kl",
    "backbone": MLP(generator=(1024, 1024), critic=(240, 240), critic_activation="elu", zero_one=True),
    "batch": 4096,
}


def _kde(value: float, error: float) -> tuple[Published, ...]:
    """One entry of the paper's MNIST table."""
    return (
        Published(
            "mnist",
            "parzen-fgan",
            value,
            error,
            "Nowozin et al. 2016, KDE table for MNIST; +- is the standard error over test images",
            comparable=False,
            note="the paper's absolute scale is not that of 16,000 kernels on pixels in [0, 1]: "
            "compare the order and the gap to the row real-train",
        ),
    )


class FGAN(Game):
    """f-GAN with every divergence of the paper. Nowozin et al. 2016, eq. 6 and Algorithm 1."""

    name = "fgan"
    players = (
        Player("critic", nets=("V",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("generator", nets=("G",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {
        "fgan-kl": {"divergence": "kl"},
        "fgan-reverse-kl": {"divergence": "reverse-kl"},
        "fgan-pearson": {"divergence": "pearson"},
        "fgan-neyman": {"divergence": "neyman"},
        "fgan-squared-hellinger": {"divergence": "squared-hellinger"},
        "fgan-jeffrey": {"divergence": "jeffrey"},
        "fgan-jensen-shannon": {"divergence": "jensen-shannon"},
        "fgan-weighted-jensen-shannon": {"divergence": "weighted-jensen-shannon"},
        "fgan-gan": {"divergence": "gan"},
        "fgan-alpha": {"divergence": "alpha"},
        "fgan-total-variation": {"divergence": "total-variation"},
        "fgan-2016": PAPER_2016,
    }
    published = {
        "fgan-kl": _kde(416, 5.62),
        "fgan-reverse-kl": _kde(319, 8.36),
        "fgan-pearson": _kde(429, 5.53),
        "fgan-neyman": _kde(300, 8.33),
        "fgan-squared-hellinger": _kde(-708, 18.1),
        "fgan-jeffrey": _kde(-2101, 29.9),
        "fgan-jensen-shannon": _kde(367, 8.19),
        "fgan-gan": _kde(305, 8.97),
        "fgan-2016": _kde(416, 5.62),
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.divergence = divergence(config.divergence, config.alpha, config.pi)
        self.G = config.backbone.make_generator(config.latent, data.shape)
        self.V = config.backbone.make_critic(data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Uniform(self.config.latent, low=-1.0, high=1.0)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def critic_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        fake = batch["fake"]
        bound = self.divergence.activation(self.V(x)).mean() - self.divergence.composite(self.V(fake)).mean()
        return -bound

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        v = self.V(batch["fake"])
        if self.config.cost == "alternative":
            return -self.divergence.activation(v).mean()
        return -self.divergence.composite(v).mean()
