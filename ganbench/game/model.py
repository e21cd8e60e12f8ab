"""A registered model: a game with its settings, from plain values to a built network."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ganbench.errors import UserError, suggest
from ganbench.game.players import Player
from ganbench.records import Record, changed, from_json, to_json

if TYPE_CHECKING:
    from ganbench.game.contract import Config, DataSpec, Game, Published

ABILITIES = (
    "sample",
    "encode",
    "decode",
    "reconstruct",
    "cluster",
    "discriminate",
    "classify",
    "log_likelihood_bound",
    "interpolate",
    "translate",
    "transfer",
    "extrapolate",
    "predict",
    "condition",
)

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

    @cached_property
    def abilities(self) -> tuple[str, ...]:
        """Names of what the game can do, asked of one on small data; of its class if it takes none of these."""
        from ganbench.game.example import example  # here, because it needs the contract, which needs models

        game: Any = self.game
        with suppress(UserError):
            game = example(self)
        return tuple(name for name in ABILITIES if callable(getattr(game, name, None)))

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

    def changed(self, settings: Settings) -> Settings:
        """Return what of all settings differs from the defaults of their types, which is what identifies a run."""
        config, players = self.read(settings)
        return {**changed(config), **{player.name: changed(player) for player in players}}

    def _complete(self, settings: Settings) -> Settings:
        """Return a new tree of the same settings with what they leave out, e.g. a backbone's further fields."""
        config, players = self._typed(settings)
        return {**to_json(config), **{player.name: _plain(player) for player in players}}

    def read(self, settings: Settings) -> tuple[Config, tuple[Player, ...]]:
        """Return the typed config and players that plain settings describe; UserError names a bad value."""
        config, players = self._typed(settings)
        for player in players:
            if config.simultaneous and max(player.steps, player.boost) != 1:
                raise UserError(f"simultaneous updates of {self.name} need one step per player and round")
        return config, players

    def _typed(self, settings: Settings) -> tuple[Config, tuple[Player, ...]]:
        names = {player.name for player in self.game.players}
        try:
            config: Config = from_json(type(self.defaults), {k: v for k, v in settings.items() if k not in names})
        except ValueError as error:
            raise UserError(f"setting of {self.name}: {error}") from None
        return config, tuple(self._player(player, settings[player.name]) for player in self.game.players)

    def _player(self, player: Player, settings: Settings) -> Player:
        try:
            return from_json(Player, {**settings, "name": player.name, "nets": list(player.nets)})
        except ValueError as error:
            raise UserError(f"setting of {self.name}: {player.name}.{error}") from None

    def build(self, data: DataSpec, settings: Settings, seed: int) -> Game:
        """Return the game with weights drawn from a seed; the global random state is left as it was."""
        config, players = self.read(settings)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # weights are drawn on the CPU, the same for every device
            try:
                game = self.game(data, config)
            except ValueError as error:
                raise UserError(f"{self.name} cannot play on {data.name}: {error}") from None
        game.players = players
        self._check_owners(game)
        return game

    def _check_owners(self, game: Game) -> None:
        """Raise UserError if a player has no parameters, or a parameter no player; several may share one."""
        names = [name for name, _ in game.named_parameters()]
        moved: set[str] = set()
        for player in game.players:
            mine = set(player.owned(names))
            if not mine:
                raise UserError(
                    f"model {self.name}: player '{player.name}' has no parameters; its nets are {player.nets}"
                )
            moved |= mine
        if idle := [name for name in names if name not in moved]:
            raise UserError(f"model {self.name}: every parameter must belong to a player, but {idle[0]} does not")


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
