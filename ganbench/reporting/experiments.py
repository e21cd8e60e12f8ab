"""The queue of experiments behind the committed tables, and what of it is done: computed, never typed."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Literal

import pandas as pd

from ganbench.errors import UserError
from ganbench.records import Count, Record, from_json, write_whole
from ganbench.reporting.publish import IDENTITY, identity
from ganbench.reporting.render import pipes
from ganbench.runs.scores import read_rows
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite

QUEUE = "experiments.toml"  # in the folder of results
HEAD = """# Experiments

Made by `ganbench publish` and `ganbench reproduce` from `experiments.toml` and the committed rows. Hours are
those of training behind rows of today's code, as far as they were noted. A model counts once per dataset; seeds
are the fewest of a model that has any.
"""


@dataclass(frozen=True)
class Experiment(Record):
    """A part of a committed table that is trained together."""

    suite: str
    budget: str
    why: str
    "what it is good for, in one line"
    datasets: tuple[str, ...] = ()
    "() is all of the suite"
    models: tuple[str, ...] = ()
    "() is all of the suite"
    seeds: Count | None = None
    "None is the budget's number"
    device: Literal["", "cpu", "gpu"] = ""
    "what it needs, if anything"

    @property
    def name(self) -> str:
        """What a user calls it."""
        return f"{self.suite} {self.budget}"


@dataclass(frozen=True)
class Queue(Record):
    """All experiments, the one of most worth per hour first."""

    experiment: tuple[Experiment, ...]


def read_experiments(path: Path) -> tuple[Experiment, ...]:
    """Return the experiments of a TOML file, in order; UserError if it is absent or malformed."""
    try:
        return from_json(Queue, tomllib.loads(path.read_text(encoding="utf-8"))).experiment
    except FileNotFoundError:
        raise UserError(f"'{path}' does not exist; give the file that lists the experiments") from None
    except (ValueError, TypeError) as error:  # not TOML, not text, not a queue; or a date, which JSON lacks
        raise UserError(f"'{path}': {error}") from None


class Coverage:
    """What of an experiment is committed.

    Args:
        experiment: of the queue.
        results: folder of committed results.
    """

    def __init__(self, experiment: Experiment, results: Path) -> None:
        suite = read_suite(experiment.suite)
        self.plan: list[list[RunSpec]] = [  # the seeds of each model on each dataset
            specs
            for dataset in experiment.datasets or suite.datasets
            for specs in expand(
                suite, experiment.budget, experiment.models, experiment.seeds, dataset=dataset
            ).values()
        ]
        paths = (results / "scores").glob(f"{suite.name}-v*-{experiment.budget}.csv")
        pairs = {(specs[0].dataset, specs[0].model) for specs in self.plan}
        rows = [row for path in paths for row in read_rows(path) if (row.dataset, row.model) in pairs]
        self.begun_before = bool(rows)
        key = attrgetter(*IDENTITY, "seed")
        self.seconds = {key(row): row.seconds for row in rows}
        "(identity, seed) of a committed run -> seconds of its training"

    def done(self, specs: Sequence[RunSpec]) -> list[float]:
        """Return the seconds of those runs of a model, one a seed, that are committed with today's code."""
        own = identity(specs[0])
        return [self.seconds[key] for spec in specs if (key := (*own, spec.seed)) in self.seconds]

    def lacking(self) -> dict[str, list[str]]:
        """Return dataset -> models of which a seed is not committed."""
        out: dict[str, list[str]] = {}
        for specs in self.plan:
            if len(self.done(specs)) < len(specs):
                out.setdefault(specs[0].dataset, []).append(specs[0].model)
        return out

    def line(self) -> dict[str, str]:
        """Return the hours that committed runs took, and the state."""
        done = [self.done(specs) for specs in self.plan]
        counts = [len(seconds) for seconds in done if seconds]
        known = pd.Series([one for seconds in done for one in seconds], dtype=float).dropna()
        seeds = len(self.plan[0])
        if sum(counts) == seeds * len(self.plan):
            state = "done"
        elif counts:
            state = f"partial: {min(counts)}/{seeds} seeds, {len(counts)}/{len(self.plan)} models"
        else:
            state = "of earlier code" if self.begun_before else "missing"
        return {"hours": f"{known.sum() / 3600:.2g}" if len(known) else "", "state": state}


def states(experiments: Sequence[Experiment], results: Path) -> pd.DataFrame:
    """Return one line of text per experiment: what it is, hours of training behind its committed rows, and state.

    A model counts once per dataset; the seeds are the fewest of a model that has any.
    """
    lines = []
    for experiment in experiments:
        coverage = Coverage(experiment, results)
        datasets = dict.fromkeys(specs[0].dataset for specs in coverage.plan)
        about = {"suite": experiment.suite, "budget": experiment.budget, "datasets": ", ".join(datasets)}
        lines.append({**about, "needs": experiment.device, **coverage.line(), "why": experiment.why})
    return pd.DataFrame(lines)


def write_states(results: Path) -> list[Path]:
    """Write the table of the queue that lies in a folder of results, if one does; return what was written."""
    if not (queue := results / QUEUE).is_file():
        return []
    table = pipes(states(read_experiments(queue), results))
    path = queue.with_suffix(".md")
    write_whole(path, f"{HEAD}\n{table}\n")
    return [path]
