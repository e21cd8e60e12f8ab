"""The command line. Heavy imports wait inside the commands, so that --help answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ganbench import __version__, registry
from ganbench.cells import plain
from ganbench.cli import check as checks
from ganbench.cli import reproduce, results, tune
from ganbench.cli.results import (
    DataRoot,
    Device,
    Engine,
    Metrics,
    NoDownload,
    Out,
    Plugins,
    SuiteOption,
    Workers,
    load_plugins,
    rows_of,
    run_folders,
    show,
    split,
)
from ganbench.errors import UserError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, measure and rank generative adversarial networks and their relatives. "
    "Start with: ganbench run --suite digits. Any command takes --debug to show a traceback.",
)

for command in (
    results.leaderboard,
    results.merge,
    results.publish,
    reproduce.reproduce,
    tune.tune,
    results.plot,
    checks.check,
):
    app.command()(command)

INTERRUPTED = 130  # what the option parser makes of Ctrl-C


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="models, datasets, metrics, extractors or suites; default all")] = "",
    plugin: Plugins = [],
) -> None:
    """Print what there is, one line each; models with their abilities."""
    from ganbench.cli.catalogue import KINDS, lines

    if what and what not in KINDS:
        raise registry.suggest("thing to list", what, list(KINDS))
    load_plugins(plugin)
    for kind in [what] if what else KINDS:
        if not what:
            print(f"{kind}:")
        for line in lines(kind):
            print(line if what else f"  {line}")


@app.command("show")
def show_(
    model: Annotated[str, typer.Argument(help="name of a model, as `ganbench list models` prints it")],
    plugin: Plugins = [],
) -> None:
    """Print what a model is: its abilities, settings and players, and its graph if it has one."""
    from ganbench.cli.describe import describe

    load_plugins(plugin)
    for line in describe(registry.models.get(model)):
        print(line)


@app.command("run")
def run_(
    suite: SuiteOption,
    models: Annotated[str | None, typer.Option(help="comma-separated names; default all of the suite")] = None,
    seeds: Annotated[int | None, typer.Option(help="number of training seeds; default the budget's")] = None,
    metric: Metrics = "",
    budget: Annotated[str, typer.Option(help="quick, standard, paper or another of the suite's")] = "quick",
    device: Device = "auto",
    set_: Annotated[list[str], typer.Option("--set", help="model.key=value, e.g. wgan-gp.penalty=5")] = [],
    dataset: Annotated[
        str,
        typer.Option(
            help="comma-separated: one of the suite's or another, by name, folder:PATH, frames:PATH or npz:PATH"
        ),
    ] = "",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    out: Out = Path("runs"),
    workers: Workers = 1,
    backend: Annotated[
        str, typer.Option(help="serial, processes, ray or slurm; default by the number of workers")
    ] = "",
    engine: Engine = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or bf16; default the budget's")] = "",
    plugin: Plugins = [],
    shard: Annotated[str, typer.Option(help="i/n: do the i-th of n equal parts, for ganbench merge")] = "",
) -> None:
    """Train and measure what is not yet done, then print the leaderboard."""
    from ganbench.suites.expand import parse_assignment

    assignments = [parse_assignment(text) for text in set_]
    names = split(models or "")
    if models is not None and not names:
        raise UserError("--models names none; leave it out for all models of the suite")

    from ganbench.cli.progress import Terminal
    from ganbench.execution.suite import run

    run(
        suite,
        models=names,
        seeds=seeds,
        metrics=split(metric),
        budget=budget,
        datasets=split(dataset),
        settings={f"{model}.{path}": value for model, path, value in assignments},
        out=out,
        device=device,
        data_root=data_root,
        download=not no_download,
        workers=workers,
        backend=backend,
        engine=engine,
        precision=precision,
        plugins=plugin,
        shard=shard,
        watcher=Terminal(out),
    )


@app.command()
def measure(
    runs: Annotated[list[Path], typer.Argument(help="run folders, or folders that contain some")],
    metric: Metrics = "",
    suite: Annotated[
        str,
        typer.Option(help="name or .toml file of a suite whose metrics to take; default the one that was run"),
    ] = "",
    device: Device = "auto",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    plugin: Plugins = [],
) -> None:
    """Measure finished runs again, or with new metrics, without training."""
    from ganbench.cli.progress import display
    from ganbench.evaluation.measure import find
    from ganbench.execution.backends import run_jobs
    from ganbench.execution.jobs import Job, check, choose_device
    from ganbench.suites.spec import read_spec
    from ganbench.suites.suite import read_suite, suite_names

    load_plugins(plugin)
    folders = run_folders(runs)
    wanted = split(metric) or (list(read_suite(suite).metrics) if suite else [])
    for name in wanted:
        find(name)
    place = choose_device(device)
    jobs = []
    for folder in folders:
        spec = read_spec(folder)
        if not wanted and spec.suite not in suite_names():
            raise UserError(f"suite {spec.suite} is a file of yours; give its path by --suite, or name a --metric")
        names = wanted or read_suite(spec.suite).metrics
        out = folder.parent.parent.parent
        if spec.folder(out) != folder:
            raise UserError(f"'{folder}' does not have the name of its specification; was it moved or edited?")
        jobs.append(Job((spec,), tuple(names), out, place, data_root, not no_download, tuple(plugin), again=True))
    with display(jobs) as tell:
        outcomes = run_jobs(jobs, 1, tell)
    print(f"measured {sum(outcome.measured for outcome in outcomes)} runs")
    fine = (folder for folder, outcome in zip(folders, outcomes, strict=True) if not outcome.error)
    show(rows_of(fine), "rich")
    check(outcomes)


@app.command("version")
def version_() -> None:
    """Print the version."""
    print(f"ganbench {__version__}")


def main() -> None:
    """Run the command line; a mistake of the user is one line on stderr and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if arguments == ["--version"]:
        arguments = ["version"]
    try:
        code = app(args=arguments or ["--help"], prog_name="ganbench", standalone_mode=False)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # the option parser's own errors
        if debug or not (isinstance(error, UserError | OSError) or usage):
            raise
        text = usage() if usage else str(error)
        print(f"ganbench: error: {plain(' '.join(text.split()))}", file=sys.stderr)
        sys.exit(2)
    if code == INTERRUPTED:
        print("ganbench: stopped; run the same command again to go on", file=sys.stderr)
    sys.exit(code or 0)
