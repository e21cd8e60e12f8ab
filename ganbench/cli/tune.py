"""The command that gives every model of a suite the same search for its settings."""

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
    budget: Annotated[str, typer.Option(help="budget of each trial")] = "quick",
    dataset: Annotated[str, typer.Option(help="one dataset; default the suite's first")] = "",
    models: Annotated[str, typer.Option(help="comma-separated names; default all of the suite that learn")] = "",
    seeds: Annotated[int, typer.Option(help="training seeds per trial")] = 1,
    to: Annotated[Path, typer.Option(help="folder for the tuned suite and its trials")] = Path(),
    device: Device = "auto",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    out: Annotated[Path, typer.Option("--out", help="folder of the runs of all trials")] = Path("runs/tuning"),
    workers: Workers = 1,
    engine: Engine = "auto",
    plugin: Plugins = [],
) -> None:
    """Search the settings of each model on validation data, equally long, and write a suite that has the best."""
    from ganbench.execution import tuning
    from ganbench.records import check_writable, write_whole
    from ganbench.suites.suite import read_suite

    load_plugins(plugin)
    chosen = read_suite(suite)
    name = dataset or (chosen.datasets or ("",))[0]
    if not name or "," in name:
        raise UserError("--dataset: give one dataset, for settings are chosen for each")
    names = tuning.models_to_tune(suite, split(models), budget)
    check_writable(to)

    def tell(trial: tuning.Trial) -> None:
        value = f"{trial.metric} {trial.value:.4g}" if trial.status == "measured" else trial.status
        print(f"{trial.model}: trial {trial.trial + 1} of {trials}: {value}", flush=True)

    found = tuning.tune(
        suite,
        name,
        names,
        trials,
        budget,
        seeds,
        workers,
        tell,
        out=out,
        device=device,
        data_root=data_root,
        download=not no_download,
        engine=engine,
        plugins=plugin,
    )
    new = to / f"{tuning.tuned_name(suite, name)}.toml"
    write_whole(new, tuning.tuned_suite(suite, name, budget, found))
    write_whole(new.with_suffix(".csv"), tuning.trials_text(found))
    print(f"best settings: {new}   all trials: {new.with_suffix('.csv')}")
    print(f"table of new runs: ganbench run --suite {new} --budget {budget}")
