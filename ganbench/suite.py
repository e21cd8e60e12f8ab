"""A suite file and its expansion into run specifications."""

from __future__ import annotations

import fnmatch
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field

from ganbench import registry
from ganbench.record import Count, Record, fingerprint, from_json, to_json
from ganbench.registry import UserError, suggest

if TYPE_CHECKING:
    from ganbench.model import Model

HERE = Path(__file__).parent / "suites"
Precision = Literal["float32", "tf32", "bf16"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]  # part of file names


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
    budgets: dict[str, Budget]
    "budget by name"
    backbone: dict[str, Any]
    "networks shared by all models"
    models: tuple[str, ...] = ("*",)
    "name patterns"
    settings: dict[str, Any] = field(default_factory=dict)
    "model.path = value for models whose defaults do not fit; * means all models that have the setting"


@dataclass(frozen=True)
class RunSpec(Record):
    """Everything that decides the numbers of one run."""

    suite: str
    version: int
    budget: str
    dataset: str
    model: str
    settings: dict[str, Any]
    seed: int
    rounds: int
    batch: int
    ema: float
    samples: int
    precision: Precision = "float32"
    snapshots: int = 0

    @property
    def config_hash(self) -> str:
        """Hash of the model's settings."""
        return fingerprint(self.settings, 8)

    @property
    def hash(self) -> str:
        """Hash of the whole specification."""
        return fingerprint(to_json(self))

    def folder(self, out: Path) -> Path:
        """Folder of the run: <out>/<suite>/<model>/<hash>."""
        return out / self.suite / self.model / self.hash


def suite_names() -> list[str]:
    """Return the names of the suites that come with the package, sorted."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def read_suite(name: str) -> Suite:
    """Return a suite by name, or from a path that ends in .toml; UserError if unknown or malformed."""
    path = Path(name) if name.endswith(".toml") else HERE / f"{name}.toml"
    if not path.is_file():
        if name.endswith(".toml"):
            raise UserError(
                f"suite file '{name}' does not exist; give a path or one of {', '.join(suite_names())}"
            )
        raise suggest("suite", name, suite_names())
    try:
        return from_json(Suite, tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:  # not TOML, not text, not a suite; or a date, which JSON lacks
        raise UserError(f"suite file '{path}': {error}") from None


def parse_assignment(text: str) -> tuple[str, str, Any]:
    """Return (model, path, value) of "model.path=value"; the value is read as TOML, else as a plain string."""
    target, equals, literal = text.partition("=")
    model, dot, path = target.strip().partition(".")
    if not (equals and dot and path and model):
        raise UserError(f"--set expects model.key=value, got '{text}'; for example wgan-gp.penalty=5")
    return model, path, parse_literal(literal)


def parse_literal(text: str) -> Any:
    """Return the value of a TOML literal such as 5, 1e-4, true, [0.5, 0.9]; other text stays text."""
    try:
        values = tomllib.loads(f"value = {text}")
        json.dumps(values)
    except (tomllib.TOMLDecodeError, TypeError):  # TypeError: a date
        return text.strip()
    return values["value"] if len(values) == 1 else text.strip()


def _chosen(suite: Suite, wanted: Sequence[str]) -> list[str]:
    """Return the names of the suite's models, or of the wanted ones among all registered."""
    known = registry.models.names()
    for name in wanted:
        registry.models.get(name)
    names = list(wanted) or [n for n in known if any(fnmatch.fnmatchcase(n, p) for p in suite.models)]
    if not names:
        raise UserError(
            f"suite {suite.name}: no model is called {' or '.join(suite.models)}; see ganbench list models"
        )
    return names


def _overrides(assignments: Mapping[str, Any], model: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return path -> value as a suite or the user gives it for one model, or by "*" for all that know the path."""
    pairs = (key.partition(".")[::2] for key in assignments)
    return {
        path: value
        for (name, path), value in zip(pairs, assignments.values(), strict=True)
        if name == model or (name == "*" and path.partition(".")[0] in known)
    }


def expand(
    suite: Suite,
    budget: str,
    models: Sequence[str] = (),
    seeds: int | None = None,
    assignments: Sequence[tuple[str, str, Any]] = (),
    dataset: str = "",
    precision: str = "",
) -> dict[str, list[RunSpec]]:
    """Return model name -> one specification per seed.

    Args:
        suite: as read.
        budget: name of one of the suite's budgets.
        models: names; empty for all of the suite.
        seeds: number of seeds, >= 1; None for the budget's.
        assignments: (model, path, value) from the user; they win over the suite's.
        dataset: one of the suite's or another; default the suite's first.
        precision: replaces the budget's.

    Raises:
        UserError: unknown budget, model, setting or precision; wrong type; no seed; no dataset.
    """
    if budget not in suite.budgets:
        raise suggest("budget", budget, list(suite.budgets))
    if not (dataset or suite.datasets):
        raise UserError(f"suite {suite.name} needs --dataset, for example folder:PATH or npz:PATH")
    if precision not in ("", *get_args(Precision)):
        raise suggest("precision", precision, list(get_args(Precision)))
    chosen = suite.budgets[budget]
    count = chosen.seeds if seeds is None else seeds
    if count < 1:
        raise UserError(f"--seeds must be at least 1, got {count}")
    names = _chosen(suite, models)
    own = {f"{model}.{path}": value for model, path, value in assignments}
    for key in (*suite.settings, *chosen.settings, *own):
        model = key.partition(".")[0]
        if model != "*":
            registry.models.get(model)
        if key in own and model not in ("*", *names):
            raise UserError(f"--set {key}: {model} is not among the models of this run")
    plan: dict[str, list[RunSpec]] = {}
    known = {name: registry.models.get(name).settings(suite.backbone) for name in {*names, *_chosen(suite, ())}}
    for key in (*suite.settings, *chosen.settings, *own):
        model, _, path = key.partition(".")
        reach = names if key in own else list(known)
        fields = {field for name in reach for field in known[name]}
        if model == "*" and path.partition(".")[0] not in fields:
            raise suggest("setting of all models", path, sorted(fields))
    for name in names:
        registered: Model = registry.models.get(name)
        layers = (_overrides(level, name, known[name]) for level in (suite.settings, chosen.settings, own))
        settings = registered.settings(suite.backbone, *layers)
        first = RunSpec(
            suite=suite.name,
            version=suite.version,
            budget=budget,
            dataset=dataset or suite.datasets[0],
            model=name,
            settings=settings,
            seed=0,
            rounds=chosen.rounds,
            batch=chosen.batch,
            ema=chosen.ema,
            samples=chosen.samples,
            precision=precision or chosen.precision,  # type: ignore[arg-type]
            snapshots=chosen.snapshots,
        )
        plan[name] = [replace(first, seed=seed) for seed in range(count)]
    return plan


def write_spec(spec: RunSpec) -> str:
    """Return the text of spec.json."""
    return json.dumps(to_json(spec), indent=1, sort_keys=True) + "\n"


def read_spec(folder: Path) -> RunSpec:
    """Return the specification of a run folder; UserError if it is not one."""
    try:
        return from_json(RunSpec, json.loads((folder / "spec.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' is not a run folder: {error}") from None
