"""The contract of a model: what a file in `baselines/`, or anybody's, imports."""

from ganbench.distributions.noise import Noise, Normal, Uniform
from ganbench.errors import UserError
from ganbench.game.contract import Config, DataSpec, Game, LogisticConfig, Published
from ganbench.game.optimisers import SGD, SGHMC, Adam, RMSprop
from ganbench.game.players import Player
from ganbench.game.schedules import Constant, Decay, LinearDecay
from ganbench.layers.networks import MLP, Backbone, Conv, NonNegativeInt
from ganbench.records import Count, NonNegative, Penalty, Positive

__all__ = [
    "MLP",
    "SGD",
    "SGHMC",
    "Adam",
    "Backbone",
    "Config",
    "Constant",
    "Conv",
    "Count",
    "DataSpec",
    "Decay",
    "Game",
    "LinearDecay",
    "LogisticConfig",
    "Noise",
    "NonNegative",
    "NonNegativeInt",
    "Normal",
    "Penalty",
    "Player",
    "Positive",
    "Published",
    "RMSprop",
    "Uniform",
    "UserError",
]
