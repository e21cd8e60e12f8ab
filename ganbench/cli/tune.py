"""The command that searches the settings of each model of a suite, equally long."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganbench.cli.results import (
    DataRoot,
    Device,
    Engine,
    NoDownload,
    Plugins,
    SuiteOption,
    Workers,
    load_plugins,
    split,
)
from ganbench.errors import UserError


def tune(
    suite: SuiteOption,
    trials: Annotated[int, typer.Option(help="trials per model; the first has the suite's own settings")] = 16,
    models: Annotated[str, typer.Option(help="comma-separated names; default all that can be tuned")] = "",
    seeds: Annotated[int, typer.Option(help="training seeds per trial")] = 1,
    budget: Annotated[str, typer.Option(help="quick, standard, paper or another of the suite's")] = "quick",
    dataset: Annotated[str, typer.Option(help="one dataset; default the suite's first")] = "",
    to: Annotated[Path, typer.Option(help="folder for the tuned suite and the rows of all trials")] = Path(),
    device: Device = "auto",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    out: Annotated[Path, typer.Option("--out", help="folder of the runs of all trials")] = Path("runs/tuning"),
    workers: Workers = 1,
    engine: Engine = "auto",
    plugin: Plugins = [],
) -> None:
    """Give each model equally many trials, judged on validation data, and write the suite of the best settings."""
    from ganbench.execution import tuning
    from ganbench.records import check_writable, write_whole
    from ganbench.suites.suite import read_suite
    from ganbench.suites.tuned import Trial, tuned_name, tuned_suite, write_trials

    load_plugins(plugin)
    chosen = read_suite(suite)
    dataset = dataset or (chosen.datasets or ("",))[0]
    if "," in dataset:
        raise UserError(f"--dataset: settings are chosen for one dataset at a time, got '{dataset}'")
    names = tuning.models_to_tune(chosen, budget, dataset, split(models), plugin)
    check_writable(to, "--to")

    def tell(trial: Trial) -> None:
        result = f"{trial.metric} {trial.value:.4g}" if trial.status == "measured" else trial.status
        print(f"{trial.model}: trial {trial.trial + 1} of {trials}: {result}", flush=True)

    found = tuning.tune(
        suite,
        dataset,
        names,
        trials,
        budget,
        seeds,
        workers,
        tell,
        device,
        plugin,
        out=out,
        data_root=data_root,
        download=not no_download,
        engine=engine,
    )
    new = to / f"{tuned_name(chosen, dataset)}.toml"
    write_whole(new.with_suffix(".csv"), write_trials(found))
    write_whole(new, tuned_suite(chosen, dataset, budget, found))
    print(f"all trials: {new.with_suffix('.csv')}   best settings: {new}")
    print(f"their table, of new runs: ganbench run --suite {new} --budget {budget}")
