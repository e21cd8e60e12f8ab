"""The command that works off the queue of experiments behind the committed results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ganbench.cli.results import Device, Engine, Out, Workers


def reproduce(
    queue: Annotated[Path, typer.Argument(help="file that lists the experiments")] = Path(
        "results/experiments.toml"
    ),
    list_: Annotated[bool, typer.Option("--list", help="only show what is done, and train nothing")] = False,
    only: Annotated[str, typer.Option(help="experiments of one suite")] = "",
    device: Device = "auto",
    out: Out = Path("runs"),
    workers: Workers = 1,
    engine: Engine = "auto",
) -> None:
    """Train what is missing of the committed results, in order of worth, and publish each table when it ends."""
    from rich.console import Console
    from rich.table import Table

    from ganbench.errors import suggest
    from ganbench.reporting.experiments import read_experiments, states, write_states

    results = queue.parent
    experiments = read_experiments(queue)
    if only:
        suites = {experiment.suite for experiment in experiments}
        if only not in suites:
            raise suggest("suite among the experiments", only, sorted(suites))
        experiments = tuple(experiment for experiment in experiments if experiment.suite == only)
    if list_:
        lines = states(experiments, results)
        table = Table(*lines.columns)
        for line in lines.itertuples(index=False):
            table.add_row(*line)
        Console().print(table)
        write_states(results)
        return

    from ganbench.cli.progress import Terminal
    from ganbench.execution.reproduce import reproduce as work_off

    errors = work_off(
        experiments, results, out, print, device=device, workers=workers, engine=engine, watcher=Terminal(out)
    )
    for error in errors:
        print(f"ganbench: failed: {' '.join(error.split())}", file=sys.stderr)
    if errors:
        raise typer.Exit(1)
