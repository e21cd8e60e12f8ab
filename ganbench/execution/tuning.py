"""Equal tuning: every model gets the same number of trials over the space that its settings declare.

As in Lucic et al. 2018, section 4: a model is what its best settings make of it, and all get the same search for
them. What validation data chose becomes a suite of its own, whose runs are new.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ganbench import registry
from ganbench.errors import UserError
from ganbench.evaluation.measure import find
from ganbench.execution.backends import share_out
from ganbench.execution.jobs import choose_device
from ganbench.execution.suite import run
from ganbench.names import HELD_BACK
from ganbench.records import Choices, Search, seed_stream
from ganbench.suites.expand import chosen_models, expand
from ganbench.suites.space import search_space
from ganbench.suites.suite import Suite, read_suite
from ganbench.suites.tuned import Trial

if TYPE_CHECKING:
    from optuna.trial import Trial as Asked


def models_to_tune(
    suite: Suite, budget: str, dataset: str, wanted: Sequence[str] = (), plugins: Sequence[str] = ()
) -> list[str]:
    """Return those models of a suite, or those wanted, that declare a search and that its first metric can rank.

    UserError: something is unknown, a wanted model cannot be tuned, or none can.
    """
    ability = find(suite.metrics[0])[0].ability
    plans = expand(suite, budget, chosen_models(suite, wanted, plugins), 1, dataset=dataset)
    reasons = {}
    for name, [spec] in plans.items():
        if not search_space(spec):
            reasons[name] = "none of its settings declares what to try"
        elif ability not in registry.models.get(name).abilities:
            reasons[name] = f"{suite.metrics[0]} needs {ability}, which it lacks"
    names = [name for name in plans if name not in reasons]
    if reasons and (wanted or not names):
        raise UserError("cannot tune " + "; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
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
    device: str = "auto",
    plugins: Sequence[str] = (),
    **options: Any,
) -> list[Trial]:
    """Return all trials of the models; those that were finished before are found again in the folder of runs.

    Args:
        suite, dataset, models, budget, device, plugins: as in `ganbench.execution.suite.run`; one dataset.
        trials: per model, >= 1; the first has the suite's own settings.
        seeds: training seeds per trial. Their random streams are not those of runs on the dataset itself.
        workers: processes that share out the models.
        tell: called after each trial.
        options: further ones of `run`.

    Raises:
        UserError: a number below 1; or a model failed with the suite's own settings, after all the others' work.
    """
    for name, value in (("trials", trials), ("seeds", seeds), ("workers", workers)):
        if value < 1:
            raise UserError(f"--{name} must be at least 1, got {value}")
    given = {"seeds": seeds, "budget": budget, "device": device, "plugins": plugins, **options}
    work = partial(_try_model, suite=suite, dataset=dataset, trials=trials, options=given)
    workers = min(workers, len(models))
    if workers == 1:
        found = [work(model, tell) for model in models]
    else:
        found = share_out(
            work,
            models,
            workers,
            tell,
            lost=lambda model, cause: UserError(f"{model}: {cause}"),
            plugins=plugins,
            device=choose_device(device),
        )
    for result in found:
        if isinstance(result, Exception):
            raise result
    return [trial for result in found if not isinstance(result, Exception) for trial in result]


def _try_model(model: str, tell: Callable[[Trial], None], **options: Any) -> list[Trial] | UserError | OSError:
    """Return the trials of one model, or the error that ended them."""
    try:
        return _search(model, tell, **options)
    except (UserError, OSError) as error:
        return error


def _search(
    model: str,
    tell: Callable[[Trial], None],
    *,
    suite: str,
    dataset: str,
    trials: int,
    options: Mapping[str, Any],
) -> list[Trial]:
    """Return the trials of one model; the same ones whenever their values are the same."""
    import optuna  # here, because it takes its time

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = read_suite(suite)
    metric = chosen.metrics[0]
    better = find(metric)[0].better
    [spec] = expand(chosen, options["budget"], [model], 1, dataset=dataset)[model]
    space = search_space(spec)
    own = {path: value for path, (value, _) in space.items()}
    sampler = optuna.samplers.TPESampler(seed=seed_stream("tune", chosen.name, dataset, model) % 2**32)
    study = optuna.create_study(sampler=sampler, direction="maximize" if better == "higher" else "minimize")
    study.enqueue_trial({path: _held(value, search) for path, (value, search) in space.items()})
    found = []
    for number in range(trials):
        asked = study.ask()
        drawn = {path: _ask(asked, path, search) for path, (_, search) in space.items()}
        settings = drawn if number else own  # what is drawn is rounded
        try:
            value, status, seconds, steps = _measure(suite, dataset, model, metric, settings, options)
        except UserError as error:
            if not number:  # not for its settings
                raise
            value, status, seconds, steps = math.nan, f"failed: {error}", math.nan, 0
        study.tell(asked, (-math.inf if better == "higher" else math.inf) if math.isnan(value) else value)
        choice = model, number, json.dumps(settings), metric, better
        found.append(Trial(*choice, value, status, options["seeds"], seconds, steps))
        tell(found[-1])
    return found


def _measure(
    suite: str, dataset: str, model: str, metric: str, settings: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[float, str, float, int]:
    """Return (value, status, seconds, steps) of a trial; validation items stand in for the test ones."""
    rows = run(
        suite,
        models=[model],
        datasets=[HELD_BACK + dataset],
        metrics=[metric],
        settings={f"{model}.{path}": value for path, value in settings.items()},
        **options,
    )
    lost = rows[rows["status"] != "measured"]
    status = "; ".join(dict.fromkeys(lost["status"] + ": " + lost["reason"])) or "measured"
    return float(rows["value"].mean(skipna=False)), status, float(rows["seconds"].sum()), int(rows["steps"].sum())


def _held(value: Any, search: Search | Choices) -> Any:
    """Return a value as the optimiser holds it: of choices, text."""
    return json.dumps(value) if isinstance(search, Choices) else value


def _ask(asked: Asked, path: str, search: Search | Choices) -> Any:
    """Return what to try of one setting, numbers to three digits."""
    if isinstance(search, Choices):
        return json.loads(asked.suggest_categorical(path, [json.dumps(value) for value in search.values]))
    return float(f"{asked.suggest_float(path, search.low, search.high, log=True):.3g}")
