"""The contract of a model: a game is networks, players with one loss each, declared noise, and abilities."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ganbench import registry
from ganbench.layers import MLP, Backbone
from ganbench.record import Record, from_json, to_json
from ganbench.registry import UserError, suggest

ABILITIES = (
    "sample",
    "encode",
    "reconstruct",
    "cluster",
    "log_likelihood_bound",
    "interpolate",
    "translate",
    "extrapolate",
    "condition",
)


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


class Law:
    """A noise law: the shape of one draw and how to fill a tensor with independent draws."""

    def __init__(self, *shape: int, training_only: bool = False) -> None:
        self.shape, self.training_only = shape, training_only

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        """Fill `out`, of shape (n, *shape), in place from the generator and return it."""
        raise NotImplementedError


class Normal(Law):
    """Independent standard normal numbers."""

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        return out.normal_(generator=generator)


class Uniform(Law):
    """Independent numbers uniform on [low, high)."""

    def __init__(self, *shape: int, low: float = 0.0, high: float = 1.0, training_only: bool = False) -> None:
        super().__init__(*shape, training_only=training_only)
        self.low, self.high = low, high

    def fill(self, out: Tensor, generator: torch.Generator) -> Tensor:
        return out.uniform_(self.low, self.high, generator=generator)


@dataclass(frozen=True)
class Constant(Record):
    """Keep the learning rate."""

    kind: Literal["constant"] = "constant"
    "always constant"

    def factor(self, round_: int, rounds: int) -> float:
        """Return the multiplier of the learning rate at a round, 0 <= round_ < rounds."""
        return 1.0


@dataclass(frozen=True)
class Decay(Record):
    """Divide the learning rate by a constant each round, down to a floor. Goodfellow et al. 2014, code."""

    divisor: float = 1.000004
    "divisor per round, >= 1"
    floor: float = 0.0
    "smallest factor"
    kind: Literal["decay"] = "decay"
    "always decay"

    def factor(self, round_: int, rounds: int) -> float:
        """Return the multiplier of the learning rate at a round, 0 <= round_ < rounds."""
        return max(self.divisor**-round_, self.floor)


@dataclass(frozen=True)
class LinearDecay(Record):
    """Keep the learning rate up to a share of the rounds, then go linearly to 0. Miyato et al. 2018: start 0."""

    start: float = 0.0
    "share of the rounds before the decay begins, in [0, 1)"
    kind: Literal["linear-decay"] = "linear-decay"
    "always linear-decay"

    def factor(self, round_: int, rounds: int) -> float:
        """Return the multiplier of the learning rate at a round, 0 <= round_ < rounds."""
        progress = round_ / rounds
        return 1.0 if progress < self.start else (1 - progress) / (1 - self.start)


Schedule = Annotated[Constant | Decay | LinearDecay, Field(discriminator="kind")]


@dataclass(frozen=True)
class Adam(Record):
    """Adam. Kingma and Ba 2015."""

    lr: float = 2e-4
    "learning rate"
    betas: tuple[float, float] = (0.5, 0.999)
    "decay rates of both moments"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["adam"] = "adam"
    "always adam"


@dataclass(frozen=True)
class RMSprop(Record):
    """RMSprop. Tieleman and Hinton 2012."""

    lr: float = 5e-5
    "learning rate"
    alpha: float = 0.99
    "decay rate of the squared gradient"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["rmsprop"] = "rmsprop"
    "always rmsprop"


@dataclass(frozen=True)
class SGD(Record):
    """Stochastic gradient descent whose momentum may rise linearly over the first rounds."""

    lr: float = 0.1
    "learning rate"
    momentum: float = 0.0
    "momentum at the start"
    final_momentum: float = 0.0
    "momentum once risen; unused while ramp is 0"
    ramp: int = 0
    "rounds over which the momentum rises"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["sgd"] = "sgd"
    "always sgd"

    def momentum_at(self, round_: int) -> float:
        """Return the momentum at a round."""
        if not self.ramp:
            return self.momentum
        return self.momentum + (self.final_momentum - self.momentum) * min(round_ / self.ramp, 1.0)


Optimiser = Annotated[Adam | RMSprop | SGD, Field(discriminator="kind")]


@dataclass(frozen=True)
class Player(Record):
    """One who minimises `<name>_loss` over the parameters of its networks.

    `steps` per round are raised to `boost` during the first `boost_first` rounds and at every `boost_every`th
    (WGAN's critic schedule). `clip` > 0 clamps the parameters to [-clip, clip] before each step.
    """

    name: str
    "name, which also names the loss method"
    nets: tuple[str, ...]
    "attributes of the game that hold the player's networks or parameters"
    optimiser: Optimiser = Adam()
    "how it descends"
    steps: int = 1
    "steps per round, >= 1"
    boost: int = 0
    "steps in boosted rounds; 0 boosts none"
    boost_first: int = 0
    "number of boosted rounds at the start"
    boost_every: int = 0
    "every so many rounds one is boosted; 0 is never"
    clip: float = 0.0
    "bound of the weights; 0 is none"

    def steps_at(self, round_: int) -> int:
        """Return the number of steps in a round, counted from 0."""
        every = self.boost_every and round_ % self.boost_every == 0
        return self.boost if self.boost and (round_ < self.boost_first or every) else self.steps


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

    def forward(self, player: str, x: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a player: the one door through which the trainer calls a game."""
        return getattr(self, f"{player}_loss")(x, noise)

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


Settings = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A registered variant of a game."""

    name: str
    game: type[Game]
    overrides: Mapping[str, Any]

    @property
    def defaults(self) -> Config:
        """The configuration that the game's constructor names as its default."""
        return inspect.signature(self.game.__init__).parameters["config"].default

    @property
    def abilities(self) -> tuple[str, ...]:
        """Names of what the game can do."""
        return tuple(name for name in ABILITIES if callable(getattr(self.game, name, None)))

    @property
    def summary(self) -> str:
        """First line of the game's docstring."""
        return (inspect.getdoc(self.game) or "").split("\n")[0]

    @property
    def published(self) -> tuple[Published, ...]:
        """Numbers from the literature for this variant."""
        return tuple(self.game.published.get(self.name, ()))

    def settings(self, backbone: Mapping[str, Any], *overrides: Mapping[str, Any]) -> Settings:
        """Return all settings as plain values: the config's fields, and under each player's name its own.

        Args:
            backbone: the suite's networks as plain values; the variant may pin others.
            overrides: dotted path -> plain value, later ones win over earlier ones.

        Raises:
            UserError: unknown path, wrong type, or a value that the game refuses.
        """
        players = {player.name: _plain(player) for player in self.game.players}
        tree = self._complete({**to_json(self.defaults), "backbone": backbone, **players})
        for settings in (self.overrides, *overrides):
            for path, value in settings.items():
                _set(tree, path, value, self.name)
                tree = self._complete(tree)
        self.read(tree)
        return tree

    def _complete(self, settings: Settings) -> Settings:
        """Return a new tree of the same settings with what they leave out, e.g. a backbone's further fields."""
        config, players = self._typed(settings)
        return {**to_json(config), **{player.name: _plain(player) for player in players}}

    def read(self, settings: Settings) -> tuple[Config, tuple[Player, ...]]:
        """Return the typed config and players that plain settings describe; UserError names a bad value."""
        config, players = self._typed(settings)
        for player in players:
            if player.steps < 1:
                raise UserError(f"setting {self.name}.{player.name}.steps must be at least 1")
            if config.simultaneous and max(player.steps, player.boost) != 1:
                raise UserError(f"simultaneous updates of {self.name} need one step per player and round")
        return config, players

    def _typed(self, settings: Settings) -> tuple[Config, tuple[Player, ...]]:
        names = {player.name for player in self.game.players}
        try:
            config: Config = from_json(type(self.defaults), {k: v for k, v in settings.items() if k not in names})
            players = tuple(
                from_json(Player, {**settings[p.name], "name": p.name, "nets": list(p.nets)})
                for p in self.game.players
            )
        except ValueError as error:
            raise UserError(f"setting of {self.name}: {error}") from None
        return config, players

    def build(self, data: Facts, settings: Settings, seed: int) -> Game:
        """Return the game with weights drawn from a seed; the global random state is left as it was."""
        config, players = self.read(settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                game = self.game(data, config)
            except ValueError as error:
                raise UserError(f"{self.name} cannot play on {data.name}: {error}") from None
        game.players = players
        return game


def _plain(player: Player) -> Settings:
    """Return the settable fields of a player as plain values."""
    return {key: value for key, value in to_json(player).items() if key not in ("name", "nets")}


def _set(tree: Settings, path: str, value: Any, model: str) -> None:
    """Set one value by its dotted path; UserError names the known keys if there is none of that name."""
    *parents, last = path.split(".")
    place = tree
    for key in parents:
        if not isinstance(place.get(key), dict):
            raise suggest(f"setting of {model}", path, _paths(tree))
        place = place[key]
    if last not in place or last == "kind":
        raise suggest(f"setting of {model}", path, _paths(tree))
    if isinstance(value, Record):
        value = to_json(value)
    elif isinstance(place[last], dict) and not isinstance(value, dict):
        raise suggest(f"setting of {model}", path, [p for p in _paths(tree) if p.startswith(path)])
    place[last] = value


def _paths(tree: Settings, prefix: str = "") -> list[str]:
    """Return the dotted paths of all settable values."""
    paths = []
    for key, value in tree.items():
        if isinstance(value, dict):
            paths += _paths(value, f"{prefix}{key}.")
        elif key != "kind":
            paths.append(prefix + key)
    return paths
