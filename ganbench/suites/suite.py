"""A suite file: datasets x models x seeds x budget x metrics, with a version."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import tomllib
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ganbench.errors import UserError, suggest
from ganbench.records import Count, Record, from_json
from ganbench.suites.spec import Name, Precision

GROUP = "ganbench.suites"  # entry points; each names a package with .toml files


@dataclass(frozen=True)
class Budget(Record):
    """How much training and sampling a run gets."""

    rounds: Count
    "rounds of the game: every player takes its steps once per round"
    seeds: Count
    "number of training seeds, unless --seeds says otherwise"
    batch: Count = 100
    "images per step and player"
    samples: Count = 10_000
    "generated images that the metrics see, unless a protocol fixes its own number"
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    "decay of the averaged weights that are evaluated; 0 evaluates the last weights"
    precision: Precision = "float32"
    "arithmetic of training: float32, tf32 (float32 with TensorFloat-32 products on CUDA) or bf16 (mixed)"
    settings: dict[str, Any] = field(default_factory=dict)
    "model.path = value, on top of the suite's settings"
    snapshots: Annotated[int, Field(ge=0)] = 0
    "how often, at equal distances, the weights of a run are kept for pictures of its course"


@dataclass(frozen=True)
class Suite(Record):
    """Datasets x models x seeds x budget x metrics, with a version."""

    name: Name
    "unique name"
    version: int
    "raised whenever the same model would score differently"
    summary: str
    "one line"
    datasets: tuple[str, ...]
    "names of the datasets; () if the user must give one"
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    "metric or metric@extractor; the first one ranks the leaderboard"
    budgets: dict[Name, Budget]
    "budget by name"
    backbone: dict[str, Any]
    "networks shared by all models"
    models: tuple[str, ...] = ("*",)
    "name patterns"
    settings: dict[str, Any] = field(default_factory=dict)
    "model.path = value for models whose defaults do not fit; * means all models that have the setting"


def suite_files() -> dict[str, Path]:
    """Return name -> file of the suites in every package behind the entry-point group, one .toml file each.

    A package that cannot be found is reported and left out. UserError if two packages have a suite of one name.
    """
    files: dict[str, Path] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            folder = Path(str(importlib.resources.files(entry.value)))
        except ImportError as error:
            warnings.warn(f"suites of '{entry.value}' could not be found: {error}", stacklevel=2)
            continue
        for path in sorted(folder.glob("*.toml")):
            if path.stem in files:
                raise UserError(f"suite '{path.stem}' comes from two packages; rename '{path}' or remove one")
            files[path.stem] = path
    return files


def suite_names() -> list[str]:
    """Return the names of the suites that installed packages bring, sorted."""
    return sorted(suite_files())


def read_suite(name: str) -> Suite:
    """Return a suite by name, or from a path that ends in .toml; UserError if unknown or malformed."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            names = ", ".join(suite_names())
            raise UserError(f"suite file '{name}' does not exist; give a path or one of {names}")
    else:
        known = suite_files()
        if name not in known:
            raise suggest("suite", name, sorted(known))
        path = known[name]
    try:
        return from_json(Suite, tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:  # not TOML, not text, not a suite; or a date, which JSON lacks
        raise UserError(f"suite file '{path}': {error}") from None
