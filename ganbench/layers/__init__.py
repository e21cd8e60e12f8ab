"""Layers, networks and norms that survive vmap over seeds: what models are built of."""

from ganbench.layers.blocks import (
    Activation,
    BatchNorm1d,
    BatchNorm2d,
    Generator,
    LeakyReLU,
    Maxout,
    MinibatchDiscrimination,
    Network,
    ReferenceNorm,
    Spectral,
    WeightNorm,
    activation,
    one_hot,
)
from ganbench.layers.networks import MLP, Backbone, Conv, InitLaw, NonNegativeInt, Norm
from ganbench.layers.norms import recalibrate_batch_norm

__all__ = [
    "MLP",
    "Activation",
    "Backbone",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv",
    "Generator",
    "InitLaw",
    "LeakyReLU",
    "Maxout",
    "MinibatchDiscrimination",
    "Network",
    "NonNegativeInt",
    "Norm",
    "ReferenceNorm",
    "Spectral",
    "WeightNorm",
    "activation",
    "one_hot",
    "recalibrate_batch_norm",
]
