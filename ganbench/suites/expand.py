"""From a suite, a budget and the user's wishes to run specifications."""

from __future__ import annotations

import fnmatch
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ganbench import registry
from ganbench.errors import UserError, suggest
from ganbench.suites.spec import Precision, RunSpec
from ganbench.suites.suite import Suite

if TYPE_CHECKING:
    from ganbench.game.model import Model


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


def chosen_models(suite: Suite, wanted: Sequence[str] = (), plugins: Sequence[str | Path] = ()) -> list[str]:
    """Return the wanted models, or else those of the suite and, after them, those that plug-in files define."""
    known = registry.models.names()
    for name in wanted:
        registry.models.get(name)
    names = list(wanted) or [n for n in known if any(fnmatch.fnmatchcase(n, p) for p in suite.models)]
    if plugins and not wanted:
        files = {str(Path(plugin).resolve()) for plugin in plugins}
        names += [name for name in known if registry.plugin_of(name) in files]
    if not names:
        raise UserError(
            f"suite {suite.name}: no model is called {' or '.join(suite.models)}; see ganbench list models"
        )
    return list(dict.fromkeys(names))


def reaches(key: str, model: str, known: Mapping[str, Any]) -> bool:
    """Tell whether an assignment's key, "model.path" or "*.path", is for a model that has these settings."""
    name, _, path = key.partition(".")
    return name == model or (name == "*" and path.partition(".")[0] in known)


def _overrides(assignments: Mapping[str, Any], model: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return path -> value as a suite or the user gives it for one model, or by "*" for all that know the path."""
    found: dict[str, Any] = {}
    for key, value in assignments.items():
        if reaches(key, model, known):
            path = key.partition(".")[2]
            found.pop(path, None)  # the later one holds its place: it may be part of what is set in between
            found[path] = value
    return found


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
    names = chosen_models(suite, models)
    own = {f"{model}.{path}": value for model, path, value in assignments}
    for key in (*suite.settings, *chosen.settings, *own):
        model = key.partition(".")[0]
        if model != "*":
            registry.models.get(model)
        if key in own and model not in ("*", *names):
            raise UserError(f"--set {key}: {model} is not among the models of this run")
    plan: dict[str, list[RunSpec]] = {}
    known = {name: registry.models.get(name).settings(suite.backbone) for name in {*names, *chosen_models(suite)}}
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
        config, _ = registered.read(settings)
        first = RunSpec(
            suite=suite.name,
            version=suite.version,
            budget=budget,
            dataset=dataset or suite.datasets[0],
            model=name,
            settings=settings,
            changed=registered.changed(settings),
            seed=0,
            rounds=chosen.rounds,
            batch=config.examples(chosen.batch),
            ema=config.decay(chosen.ema),
            samples=chosen.samples,
            precision=precision or chosen.precision,  # type: ignore[arg-type]
            snapshots=chosen.snapshots,
        )
        plan[name] = [replace(first, seed=seed) for seed in range(count)]
    return plan
