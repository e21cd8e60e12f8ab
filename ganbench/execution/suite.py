"""The whole way from a suite to its score rows: what `ganbench run` and `ganbench.run` both call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganbench import registry
from ganbench.errors import UserError
from ganbench.evaluation.measure import find
from ganbench.execution.backends import CLUSTERS, run_jobs
from ganbench.execution.jobs import Job, Outcome, Tell, check, choose_device
from ganbench.execution.shards import shard_of
from ganbench.records import check_writable
from ganbench.suites.expand import chosen_models, expand
from ganbench.suites.suite import read_suite
from ganbench.training.engines import choose_engine

if TYPE_CHECKING:
    import pandas as pd


class Watcher:
    """What hears of a run while it goes on; this one keeps quiet."""

    @contextmanager
    def watch(self, jobs: Sequence[Job]) -> Iterator[Tell]:
        """Yield the progress callback of these jobs."""
        yield lambda *_: None

    def finish(self, outcomes: Sequence[Outcome], rows: pd.DataFrame) -> None:
        """Take what became of the jobs, and the score rows of those that did not fail; errors are raised later."""


def run(
    suite: str | Path,
    *,
    models: Sequence[str] = (),
    seeds: int | None = None,
    metrics: Sequence[str] = (),
    budget: str = "quick",
    datasets: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    data_root: str | None = None,
    download: bool = True,
    workers: int = 1,
    backend: str = "",
    engine: str = "auto",
    precision: str = "",
    plugins: Sequence[str | Path] = (),
    shard: str = "",
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Train and measure what is not yet done of a suite, and return its score rows.

    Args:
        suite: name, or path of a .toml file.
        models: names; default all of the suite and of the plug-ins.
        seeds: number of training seeds; default the budget's.
        metrics: names as in a suite; default the suite's.
        budget: one of the suite's.
        datasets: of the suite or others, by name, folder:PATH, frames:PATH or npz:PATH; default all of the suite.
        settings: "model.key" -> value, e.g. {"wgan-gp.penalty": 5}.
        out: folder of all runs.
        device: auto, cpu, cuda or mps.
        data_root: folder of the datasets; default the environment variable GANBENCH_DATA.
        download: whether absent datasets may be fetched.
        workers: processes that share out models, cores and GPU memory of a machine.
        backend: where the jobs run: serial, processes, ray[:ADDRESS] or slurm[:key=value,...]; default by the
            number of workers.
        engine: training step: auto, eager, compiled or graph.
        precision: float32, tf32 or bf16; default the budget's.
        plugins: Python files with further models, datasets, metrics or extractors.
        shard: "i/n" for the i-th of n equal parts of the work, see `ganbench.execution.shards`.
        watcher: hears of the progress.

    Returns:
        Rows of these runs, those measured before included, with the columns of `ganbench.runs.scores.ScoreRow`.

    Raises:
        UserError: something is unknown or absent, before any work; or a model failed, after all the others' work.
    """
    for plugin in plugins:
        registry.load_plugin(plugin)
    chosen = read_suite(str(suite))
    names = chosen_models(chosen, models, plugins)
    assignments = [(*key.partition(".")[::2], value) for key, value in (settings or {}).items()]
    plans = [
        specs
        for dataset in datasets or chosen.datasets or ("",)
        for specs in expand(chosen, budget, names, seeds, assignments, dataset, precision).values()
    ]
    several = len({specs[0].dataset for specs in plans}) > 1
    if workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    folder = Path(out)
    check_writable(folder)
    wanted = tuple(metrics) or chosen.metrics
    for metric in wanted:
        find(metric)
    place = choose_device(device, elsewhere=backend.partition(":")[0] in CLUSTERS)
    form = choose_engine(engine, place)
    jobs = [
        Job(
            tuple(specs),
            wanted,
            folder,
            place,
            data_root,
            download,
            tuple(map(str, plugins)),
            engine=form,
            label=f"{specs[0].model} on {specs[0].dataset}" if several else "",
        )
        for specs in plans
    ]
    jobs = shard_of(jobs, shard) if shard else jobs
    watcher = watcher or Watcher()
    with watcher.watch(jobs) as tell:
        outcomes = run_jobs([job for job in jobs if job.untrained() or job.unmeasured()], workers, tell, backend)
    rows = _rows(jobs, outcomes)
    rows = rows[rows["metric"].isin(wanted)] if metrics else rows
    watcher.finish(outcomes, rows)
    check(outcomes)
    return rows


def _rows(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return the score rows of all jobs that did not fail."""
    from ganbench.reporting.leaderboard import load_rows  # here, because pandas takes its time

    failed = {outcome.model for outcome in outcomes if outcome.error}
    folders = [spec.folder(job.out) for job in jobs if job.model not in failed for spec in job.specs]
    return load_rows(path for folder in folders if (path := folder / "scores.csv").exists())
