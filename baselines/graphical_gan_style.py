"""Graphical-GAN of a class, a style and an image: a graph of one's own on a page, after Li et al. 2018."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.game import Count, DataSpec, NonNegative, Positive
from ganbench.graphical import (
    Categorical,
    CategoricalHead,
    Concat,
    Estimator,
    Graph,
    GraphicalConfig,
    GraphicalGAN,
    Joint,
    Mixture,
    Node,
)


@dataclass(frozen=True)
class Config(GraphicalConfig):
    latent: Count = 16
    "size of the style"
    clusters: Count = 10
    "number of classes"
    spread: NonNegative = 1.0
    "standard deviation of the classes' mean styles at the start"
    estimator: Estimator = "concrete"
    "how gradients pass the recognised class"
    temperature: Positive = 0.1
    "temperature of the relaxed class"


class GraphicalGANStyle(GraphicalGAN):
    """GAN of class -> style, (class, style) -> image with inverted recognition; no published instance.

    The style is recognised from the image, the class from both. The critics judge (style, class) and
    (image, class, style), in the global form only the latter.
    """

    name = "graphical-gan-style"
    variants = {"graphical-gan-style": {}, "graphical-gan-style-global": {"algorithm": "global"}}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone, size, clusters = config.backbone, config.latent, config.clusters
        width = (config.joint,)
        classifier = Joint(backbone, [(size,), data.shape], width, width, clusters)
        self.build_networks(
            Graph(Node("class"), Node("style", ("class",)), Node("x", ("class", "style"), observed=True)),
            p={
                "class": Categorical(clusters),
                "style": Mixture(clusters, size, config.spread),
                "x": Concat(backbone.make_generator(clusters + size, data.shape)),
            },
            q={
                "style": backbone.make_encoder(data.shape, size),
                "class": CategoricalHead(classifier, clusters, config.estimator, config.temperature),
            },
        )

    def encode(self, x: Tensor) -> Tensor:
        """Return the probabilities of the classes beside the style, (n, clusters + latent)."""
        return torch.cat([self.cluster(x).exp(), self.q["style"](x)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images of codes, (n, *shape)."""
        return self.p["x"](codes)
