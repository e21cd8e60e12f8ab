"""Layers, networks and norms that survive vmap over seeds: what models are built of."""

from ganbench.layers.blocks import (
    Activation,
    BatchNorm1d,
    BatchNorm2d,
    Critic,
    Generator,
    LeakyReLU,
    Maxout,
    MinibatchDiscrimination,
    ReferenceNorm,
    Spectral,
    WeightNorm,
    activation,
    one_hot,
)
from ganbench.layers.networks import MLP, Backbone, Conv, InitLaw, Natural, Norm
from ganbench.layers.norms import settle_norms

__all__ = [
    "MLP",
    "Activation",
    "Backbone",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv",
    "Critic",
    "Generator",
    "InitLaw",
    "LeakyReLU",
    "Maxout",
    "MinibatchDiscrimination",
    "Natural",
    "Norm",
    "ReferenceNorm",
    "Spectral",
    "WeightNorm",
    "activation",
    "one_hot",
    "settle_norms",
]
