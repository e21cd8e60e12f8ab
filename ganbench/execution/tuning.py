"""Equal tuning: every model gets the same number of trials over the space that its settings declare.

As in Lucic et al. 2018, section 4: a model is what its best settings make of it, and the search for them costs all
models the same. What is chosen by validation data becomes a suite of its own, whose runs are new.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import tomlkit

from ganbench import registry
from ganbench.errors import UserError
from ganbench.evaluation.measure import find
from ganbench.execution.processes import in_processes
from ganbench.execution.suite import run
from ganbench.records import Choices, Search, seed_stream
from ganbench.suites.expand import chosen_models, expand
from ganbench.suites.space import search_space
from ganbench.suites.suite import read_suite, suite_file

if TYPE_CHECKING:
    from optuna.trial import Trial as Asked

HELD_BACK = "validation:"  # before the name of a dataset: its validation items stand in for the test ones


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
    "mean over seeds on validation data, NaN if it diverged or failed"
    status: str
    "measured, or why there is no value"
    seeds: int
    seconds: float
    "of training, all seeds"
    steps: int
    "of all optimisers, all seeds"


def models_to_tune(suite: str, models: Sequence[str], budget: str) -> list[str]:
    """Return those models of a suite that learn: references have nothing to search.

    UserError: something is unknown, or a wanted model has nothing to search.
    """
    chosen = read_suite(suite)
    plans = expand(chosen, budget, chosen_models(chosen, models), 1)
    names = [name for name, (spec,) in plans.items() if search_space(spec)]
    if idle := [name for name in models if name not in names]:
        raise UserError(f"{', '.join(idle)}: nothing to tune, for no setting declares a search")
    return names


def tune(
    suite: str,
    dataset: str,
    models: Sequence[str],
    trials: int,
    budget: str,
    seeds: int = 1,
    workers: int = 1,
    tell: Callable[[Trial], None] = lambda trial: None,
    **options: Any,
) -> list[Trial]:
    """Return all trials of the models; those that were finished before are found again in the folder of runs.

    Args:
        suite, dataset, models, budget: as in `ganbench.execution.suite.run`; one dataset.
        trials: per model, >= 1; the first has the suite's own settings.
        seeds: training seeds per trial. Their streams are not those of any final run.
        workers: processes that share out the models.
        tell: called after each trial.
        options: further ones of `run`.

    Raises:
        UserError: no trial, no model, or what `run` refuses before any work.
    """
    for name, value in (("trials", trials), ("seeds", seeds), ("workers", workers)):
        if value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    work = partial(
        _trials, suite=suite, dataset=dataset, trials=trials, budget=budget, seeds=seeds, options=options
    )
    if workers == 1 or len(models) < 2:
        return [trial for model in models for trial in work(model, tell)]

    def lost(model: str, cause: str) -> list[Trial] | UserError:
        return UserError(f"{model}: {cause}; run the same command again to go on")

    found: list[list[Trial] | UserError] = in_processes(
        work,
        list(models),
        min(workers, len(models)),
        tell,
        lost=lost,
        prepare=partial(_prepare, tuple(options.get("plugins", ()))),
        environment={"OMP_NUM_THREADS": "1"},
    )
    trials_of: list[Trial] = []
    for result in found:
        if isinstance(result, UserError):
            raise result
        trials_of += result
    return trials_of


def _prepare(plugins: Sequence[str]) -> None:
    for plugin in plugins:
        registry.load_plugin(plugin)


def _trials(
    model: str,
    tell: Callable[[Trial], None],
    *,
    suite: str,
    dataset: str,
    trials: int,
    budget: str,
    seeds: int,
    options: Mapping[str, Any],
) -> list[Trial]:
    """Return the trials of one model; the same ones whenever their values are the same."""
    import optuna  # slow to import

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = read_suite(suite)
    metric = chosen.metrics[0]
    better = find(metric)[0].better
    [spec] = expand(chosen, budget, [model], 1, dataset=dataset)[model]
    space = search_space(spec)
    sampler = optuna.samplers.TPESampler(seed=seed_stream("tune", chosen.name, dataset, model) % 2**32)
    study = optuna.create_study(sampler=sampler, direction="maximize" if better == "higher" else "minimize")
    study.enqueue_trial({path: _held(value, search) for path, (value, search) in space.items()})
    worst = -math.inf if better == "higher" else math.inf
    found = []
    for number in range(trials):
        asked = study.ask()
        settings = {path: _ask(asked, path, search) for path, (_, search) in space.items()}
        given = {f"{model}.{path}": value for path, value in settings.items()} if number else {}
        value, status, seconds, steps = math.nan, "measured", math.nan, 0
        try:
            rows = run(
                suite,
                models=[model],
                datasets=[HELD_BACK + dataset],
                budget=budget,
                seeds=seeds,
                metrics=[metric],
                settings=given,
                **options,
            )
            value, seconds, steps = (
                rows["value"].mean(skipna=False),
                rows["seconds"].sum(),
                int(rows["steps"].sum()),
            )
            status = "; ".join(dict.fromkeys(rows.loc[rows["status"] != "measured", "reason"])) or "measured"
        except UserError as error:  # settings that do not fit together, or a metric that fails
            status = str(error)
        study.tell(asked, worst if math.isnan(value) else value)
        text = json.dumps(settings, sort_keys=True)
        found.append(Trial(model, number, text, metric, better, value, status, seeds, float(seconds), steps))
        tell(found[-1])
    return found


def _held(value: Any, search: Search | Choices) -> Any:
    """Return a value as the optimiser holds it: of choices, text."""
    return json.dumps(value) if isinstance(search, Choices) else value


def _ask(asked: Asked, path: str, search: Search | Choices) -> Any:
    """Return what is tried of one setting, numbers to three digits."""
    if isinstance(search, Choices):
        return json.loads(asked.suggest_categorical(path, [json.dumps(value) for value in search.values]))
    return float(f"{asked.suggest_float(path, search.low, search.high, log=True):.3g}")


def best(trials: Sequence[Trial]) -> dict[str, Trial]:
    """Return the trial with the best value of each model that has any; of equals the first."""
    chosen: dict[str, Trial] = {}
    for trial in trials:
        sign = 1 if trial.better == "higher" else -1
        known = chosen.get(trial.model)
        if not math.isnan(trial.value) and (known is None or sign * trial.value > sign * known.value):
            chosen[trial.model] = trial
    return chosen


def tuned_name(suite: str, dataset: str) -> str:
    """Return the name of the suite that tuning makes."""
    chosen = read_suite(suite)
    part = "" if chosen.datasets == (dataset,) else "-" + dataset.partition(":")[0]
    return f"{chosen.name}{part}-tuned"


def tuned_suite(suite: str, dataset: str, budget: str, trials: Sequence[Trial]) -> str:
    """Return the text of the suite file with the chosen settings, of the tuned models and the references only."""
    document = tomlkit.parse(suite_file(suite).read_text(encoding="utf-8"))
    count = max(trial.trial for trial in trials) + 1
    document["name"] = tuned_name(suite, dataset)
    document["summary"] = f"{dataset}, each model tuned by {count} trials at budget {budget}"
    document["datasets"] = [dataset]
    chosen = read_suite(suite)
    plans = expand(chosen, budget, chosen_models(chosen), 1)
    references = [name for name, (spec,) in plans.items() if not search_space(spec)]
    document["models"] = [*best(trials), *references]
    settings = document.setdefault("settings", tomlkit.table())
    for trial in best(trials).values():
        settings.add(
            tomlkit.comment(f"Trial {trial.trial} of {count}: {trial.metric} {trial.value:.4g} on validation")
        )
        for path, value in json.loads(trial.settings).items() if trial.trial else ():
            settings[f"{trial.model}.{path}"] = value
    return tomlkit.dumps(document)


def trials_text(trials: Sequence[Trial]) -> str:
    """Return all trials as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Trial.__dataclass_fields__)
    writer.writerows(vars(trial).values() for trial in trials)
    return text.getvalue()
