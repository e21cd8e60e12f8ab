"""Graphical-GAN for mixtures (GMGAN). Li, Welling, Zhu and Zhang 2018, arXiv:1804.03429, section 4.1 and code."""

from __future__ import annotations

from dataclasses import dataclass

from ganbench.game import Conv, Count, DataSpec, NonNegative, Positive, Published
from ganbench.graphical import (
    Bayes,
    Categorical,
    CategoricalHead,
    Estimator,
    Graph,
    GraphicalConfig,
    GraphicalGAN,
    Mixture,
    Node,
)


@dataclass(frozen=True)
class Config(GraphicalConfig):
    latent: Count = 128
    "size of h"
    clusters: Count = 30
    "number K of components"
    spread: NonNegative = 1.0
    "standard deviation of the components' means at the start"
    estimator: Estimator = "concrete"
    "how gradients pass the recognised k: relaxed, relaxed behind a one-hot value, or by the score of a draw"
    temperature: Positive = 0.1
    "temperature of the relaxed k"


# The MNIST networks. Weights start from N(0, 0.02^2), in the critics' dense layers by the library's law; there by
# Glorot's. The transposed convolution gives 7 x 7 at once where 8 x 8 is cropped there, and the generator's first
# norm is by channel here, by unit there.
RELEASED_2018 = {"backbone": Conv(kernel=5, layers=3, width=64, encoder_norm=True)}
SOURCE = "Li et al. 2018, Table 1; +- is over runs"
NOTE = "K = 30 by the released code's default; a cluster's exemplar is its test image of the largest q(k | h)"
OTHER = "convolutional networks and 200,000 rounds there; "


def _published(accuracy: float, spread: float, error: float, other: str = "") -> tuple[Published, ...]:
    return (
        Published("mnist", "exemplar-accuracy-test", accuracy, spread, SOURCE, note=other + NOTE, protocol="K=30"),
        Published("mnist", "reconstruction-mse", error, 0.001, SOURCE, note=other + "K = 30, split not stated"),
    )


class GraphicalGANMixture(GraphicalGAN):
    """GAN with a Gaussian mixture of codes and inverted recognition: k -> h -> x. Li et al. 2018, eq. 6.

    h is recognised by a network without noise, k by Bayes' rule. The critics judge (h, k) and (x, h), in the
    global form (x, h, k): GMGAN-L and GMGAN-G of the paper.
    """

    name = "graphical-gan-mixture"
    variants = {
        "graphical-gan-mixture": {},
        "graphical-gan-mixture-global": {"algorithm": "global"},
        "graphical-gan-mixture-2018": RELEASED_2018,
        "graphical-gan-mixture-global-2018": {**RELEASED_2018, "algorithm": "global"},
        "graphical-gan-mixture-straight-through": {"estimator": "straight-through"},
        "graphical-gan-mixture-reinforce": {"estimator": "reinforce"},
    }
    published = {
        "graphical-gan-mixture": _published(0.9303, 0.0165, 0.044, OTHER),
        "graphical-gan-mixture-2018": _published(0.9303, 0.0165, 0.044),
        "graphical-gan-mixture-global": _published(0.9162, 0.0191, 0.056, OTHER),
        "graphical-gan-mixture-global-2018": _published(0.9162, 0.0191, 0.056),
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone, size = config.backbone, config.latent
        mixture = Mixture(config.clusters, size, config.spread)
        by_rule = CategoricalHead(Bayes(mixture), config.clusters, config.estimator, config.temperature)
        self.build_networks(
            Graph(Node("k"), Node("h", ("k",)), Node("x", ("h",), observed=True)),
            p={
                "k": Categorical(config.clusters),
                "h": mixture,
                "x": backbone.make_generator(size, data.shape),
            },
            q={"h": backbone.make_encoder(data.shape, size), "k": by_rule},
        )
