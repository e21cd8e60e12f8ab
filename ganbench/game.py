"""The contract of a model: a game is networks, players with one loss each, declared noise, and abilities."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ganbench import registry
from ganbench.backbones import MLP, Backbone
from ganbench.model import Model
from ganbench.noise import Law, Normal, Uniform
from ganbench.players import SGD, Adam, Constant, Decay, LinearDecay, Player, RMSprop
from ganbench.record import Count, NonNegative, Record
from ganbench.registry import UserError

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "Config",
    "Constant",
    "Count",
    "Decay",
    "Facts",
    "Game",
    "Law",
    "LinearDecay",
    "NonNegative",
    "Normal",
    "Player",
    "Published",
    "RMSprop",
    "Uniform",
]


@dataclass(frozen=True)
class Facts:
    """What a game is told about its data.

    Args:
        name: dataset name.
        shape: (channels, height, width) of an image.
        classes: number of classes, 0 if unlabelled.
        mean: per-pixel mean of the training images in [0, 1], same shape.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    mean: Tensor


@dataclass(frozen=True)
class Config(Record):
    """Settings that every game has."""

    backbone: Backbone = MLP()
    "networks, given by the suite unless the model pins its own"
    simultaneous: bool = False
    "take all players' gradients at the same point and on the same batch, then step all"


@dataclass(frozen=True)
class Published:
    """A number from the literature, to stand beside ours.

    Args:
        dataset: as named here.
        metric: as named here, including the extractor.
        value: as printed.
        error: the printed +-, NaN if none.
        source: paper, table, and what the +- means.
        comparable: whether protocol and scale are those of our metric.
        note: what differs.
    """

    dataset: str
    metric: str
    value: float
    error: float
    source: str
    comparable: bool = True
    note: str = ""


class Game(nn.Module):
    """Base of every model. A subclass with a `name` is registered and checked when its class is made.

    Class attributes:
        name: as typed by users.
        players: who trains what; () for a reference that is fitted instead.
        variants: name -> settings that differ from the defaults, by dotted path; default {name: {}}.
        published: variant name -> numbers from the literature.
        role: "model", "floor" or "ceiling"; references are shown apart from the ranking.
        league: "unlabelled", "labelled" (trained with labels) or "conditional"; leagues share no table.

    Methods a subclass gives: `<player>_loss(x, noise)` for each player, with x (n, *shape) in [-1, 1], returning
    a scalar; `noise()`; `sample(noise)`; further abilities. It uses no random numbers of its own.
    """

    name: ClassVar[str]
    players: tuple[Player, ...] = ()
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    published: ClassVar[Mapping[str, tuple[Published, ...]]] = {}
    role: ClassVar[str] = "model"
    league: ClassVar[str] = "unlabelled"

    def __init__(self, data: Facts, config: Config) -> None:
        super().__init__()
        self.data, self.config = data, config

    def noise(self) -> dict[str, Law]:
        """Return the law of each random input that the losses and abilities name."""
        raise NotImplementedError

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        """Return images (n, *shape) in [-1, 1]."""
        raise NotImplementedError

    def share(self, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return by name what several losses need of one draw: it is made once per turn and joins `noise`.

        It is made before anyone moves, so it may go through the networks of the turn's last player only.
        """
        return {}

    def forward(self, method: str, *arguments: Any) -> Any:
        """Return what a method gives: the one door through which the trainer calls a game."""
        return getattr(self, method)(*arguments)

    def fit(self, images: Tensor, seed: int) -> None:
        """Fit a reference to training images (n, *shape) in [-1, 1]; games with players have none."""
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            return
        for player in cls.players:
            if not callable(getattr(cls, f"{player.name}_loss", None)):
                raise UserError(f"game '{cls.name}': player '{player.name}' has no method {player.name}_loss")
        if not cls.players and cls.fit is Game.fit:
            raise UserError(f"game '{cls.name}' has neither players nor a method fit; give it one of them")
        for method in ("noise", "sample"):
            if getattr(cls, method) is getattr(Game, method):
                raise UserError(f"game '{cls.name}' has no method {method}")
        config = inspect.signature(cls.__init__).parameters.get("config")
        if config is None or not isinstance(config.default, Config):
            raise UserError(f"game '{cls.name}': __init__ needs a parameter 'config' whose default is a Config")
        for variant, settings in (cls.variants or {cls.name: {}}).items():
            registry.models.add(variant, Model(variant, cls, dict(settings)))
