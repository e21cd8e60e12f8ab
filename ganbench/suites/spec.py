"""Run specifications: everything that decides the numbers of one run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ganbench.errors import UserError
from ganbench.names import NAME
from ganbench.records import Record, changed, fingerprint, from_json, to_json

Precision = Literal["float32", "tf32", "bf16"]
Name = Annotated[str, Field(pattern=NAME)]  # part of paths


@dataclass(frozen=True)
class RunSpec(Record):
    """Everything that decides the numbers of one run."""

    suite: Name
    version: int
    budget: Name
    dataset: str
    model: Name
    settings: dict[str, Any]
    "all of them, so that the run can be understood without the code that made it"
    changed: dict[str, Any]
    "those that differ from the defaults of their types, which identify the run"
    seed: int
    rounds: int
    batch: int
    ema: float
    samples: int
    precision: Precision = "float32"
    snapshots: int = 0

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers of the run's model; of options with a default, those that differ from it."""
        values = changed(self)
        for name in ("settings", "seed", "snapshots"):
            values.pop(name, None)
        return values

    @property
    def config_hash(self) -> str:
        """Hash of the identity, common to all seeds."""
        return fingerprint(self.identity, 8)

    @property
    def hash(self) -> str:
        """Hash of the identity and the seed."""
        return fingerprint([self.identity, self.seed])

    @property
    def backbone(self) -> str:
        """Kind of the networks."""
        return str(self.settings["backbone"]["kind"])

    @property
    def players(self) -> list[dict[str, Any]]:
        """Settings of the players; a model that is fitted has none."""
        return [part for part in self.settings.values() if isinstance(part, dict) and "steps" in part]

    def steps(self, rounds: int) -> int:
        """Return the optimiser steps of all players in the first rounds, those of lookahead included."""
        total = 0
        for player in self.players:
            boosted = _boosted(player["boost_first"], player["boost_every"], rounds) if player["boost"] else 0
            own = player["steps"] * (rounds - boosted) + player["boost"] * boosted
            total += own * (1 + player["unroll"])
        return total

    def agrees(self, other: RunSpec) -> bool:
        """Tell whether all settings that both runs name have the same values.

        Runs of one identity differ here if a default was changed without a new version of the suite.
        """
        return _agree(self.settings, other.settings)

    def folder(self, out: Path) -> Path:
        """Folder of the run: <out>/<suite>/<model>/<hash>."""
        return out / self.suite / self.model / self.hash


def write_spec(spec: RunSpec) -> str:
    """Return the text of spec.json."""
    return json.dumps(to_json(spec), indent=1, sort_keys=True) + "\n"


def read_spec(folder: Path) -> RunSpec:
    """Return the specification of a run folder; UserError if it is not one."""
    try:
        return from_json(RunSpec, json.loads((folder / "spec.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' is not a run folder: {error}") from None


def _boosted(first: int, every: int, rounds: int) -> int:
    """Return how many of the first rounds are boosted: see `ganbench.game.Player`."""
    first = min(first, rounds)
    return first + (len(range(-(-first // every) * every, rounds, every)) if every else 0)


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_agree(value, other[key]) for key, value in one.items() if key in other)
    return bool(one == other)
