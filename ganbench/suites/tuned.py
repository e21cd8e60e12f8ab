"""What tuning leaves behind: its trials as rows, and the suite that has the best of them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import tomlkit

from ganbench import registry
from ganbench.records import to_json
from ganbench.suites.expand import chosen_models, reaches
from ganbench.suites.suite import Suite


@dataclass(frozen=True)
class Trial:
    """One choice of settings for a model and what became of it."""

    model: str
    trial: int
    "counted from 0, which is the suite's own settings"
    settings: str
    "what was searched, path -> value, as JSON"
    metric: str
    better: str
    value: float
    "mean over seeds on validation data, NaN if any of them diverged or failed"
    status: str
    "measured, or why there is no value"
    seeds: int
    seconds: float
    "of training, all seeds"
    steps: int
    "of all optimisers, all seeds"


def write_trials(trials: Sequence[Trial]) -> str:
    """Return the text of a CSV file of all trials."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(Trial)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, trials))
    return text.getvalue()


def best(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Return the trial with the best value of each model that has any; of equals the first."""
    chosen: dict[str, Trial] = {}
    for trial in trials:
        sign = 1 if trial.better == "higher" else -1
        known = chosen.get(trial.model)
        if not math.isnan(trial.value) and (known is None or sign * trial.value > sign * known.value):
            chosen[trial.model] = trial
    return chosen


def tuned_name(suite: Suite, dataset: str) -> str:
    """Return the name of the suite that tuning makes; the dataset is part of it unless there is no other."""
    part = "" if suite.datasets == (dataset,) else "-" + re.sub(r"[^a-z0-9_-]+", "-", dataset.lower())
    return f"{suite.name}{part}-tuned"


def tuned_suite(suite: Suite, dataset: str, budget: str, trials: Sequence[Trial]) -> str:
    """Return the text of a suite file: the suite on one dataset, each model with the settings of its best trial.

    Its models are those that were tuned and the suite's references. Settings that reach none of them are left out,
    as are those of a budget that would undo what was chosen. A model without any value keeps the suite's settings.

    Args:
        suite: whose models were tuned.
        dataset, budget: of the trials.
        trials: all of them, at least one.
    """
    chosen, count = best(trials), max(trial.trial for trial in trials) + 1
    tuned = list(dict.fromkeys(trial.model for trial in trials))
    found = {name: json.loads(trial.settings) for name, trial in chosen.items()}
    models = tuned + [name for name in chosen_models(suite) if registry.models.get(name).game.role != "model"]
    known = {name: registry.models.get(name).settings(suite.backbone) for name in models}

    def kept(settings: dict[str, Any]) -> dict[str, Any]:
        return {
            k: _inline(v) for k, v in settings.items() if any(reaches(k, name, known[name]) for name in models)
        }

    def undoes(key: str) -> bool:
        path = key.partition(".")[2]
        paths = [one for name in found if reaches(key, name, known[name]) for one in found[name]]
        return any(f"{one}.".startswith(f"{path}.") for one in paths)

    new = {f"{name}.{path}": value for name in found for path, value in found[name].items()}
    settings = tomlkit.table()
    settings.update({key: value for key, value in kept(suite.settings).items() if key not in new})
    for name in tuned:
        text = f"none of {count} trials has a value"
        if name in chosen:
            text = f"trial {chosen[name].trial} of {count}, {chosen[name].metric} {chosen[name].value:.4g}"
        settings.add(tomlkit.comment(f"{name}: {text} on validation data"))
        settings.update({f"{name}.{path}": value for path, value in found.get(name, {}).items()})
    values = to_json(suite)
    for one in values["budgets"].values():
        if own := {key: value for key, value in kept(one.pop("settings")).items() if not undoes(key)}:
            one["settings"] = own
    values |= {
        "name": tuned_name(suite, dataset),
        "summary": f"{dataset}: each model with the best of {count} trials at budget {budget}",
        "datasets": [dataset],
        "models": models,
        "settings": settings,
    }
    return tomlkit.dumps(dict(sorted(values.items(), key=lambda item: isinstance(item[1], dict))))


def _inline(value: Any) -> Any:
    """Return a table as one on its line: later settings overrule earlier ones, and others would come last."""
    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update({key: _inline(part) for key, part in value.items()})
    return table
