"""The command line. Heavy imports wait inside the commands, so that --help answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganbench import __version__, registry
from ganbench.registry import UserError

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, measure and rank generative adversarial networks and their relatives. "
    "Start with: ganbench run --suite digits. Any command takes --debug to show a traceback.",
)

SuiteOption = Annotated[str, typer.Option("--suite", help="suite name or path of a .toml file")]
Out = Annotated[Path, typer.Option("--out", help="folder of all runs")]
Plugins = Annotated[list[str], typer.Option("--plugin", help="Python file with further models or metrics")]
DataRoot = Annotated[str | None, typer.Option("--data-root", help="dataset folder; default $GANBENCH_DATA")]
NoDownload = Annotated[bool, typer.Option("--no-download", help="never fetch a dataset")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps")]
Metrics = Annotated[str, typer.Option("--metric", help="comma-separated metrics; default all of the suite")]
INTERRUPTED = 130  # what the option parser makes of Ctrl-C


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _load_plugins(plugins: list[str]) -> None:
    for plugin in plugins:
        registry.load_plugin(plugin)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="models, datasets, metrics, extractors or suites; default all")] = "",
    plugin: Plugins = [],
) -> None:
    """Print what there is, one line each; models with their abilities."""
    from ganbench.catalogue import KINDS, lines

    if what and what not in KINDS:
        raise registry.suggest("thing to list", what, list(KINDS))
    _load_plugins(plugin)
    for kind in [what] if what else KINDS:
        if not what:
            print(f"{kind}:")
        for line in lines(kind):
            print(line if what else f"  {line}")


@app.command()
def run(
    suite: SuiteOption,
    models: Annotated[str | None, typer.Option(help="comma-separated names; default all of the suite")] = None,
    seeds: Annotated[int | None, typer.Option(help="number of training seeds; default the budget's")] = None,
    budget: Annotated[str, typer.Option(help="quick, standard, paper or another of the suite's")] = "quick",
    device: Device = "auto",
    set_: Annotated[list[str], typer.Option("--set", help="model.key=value, e.g. wgan-gp.penalty=5")] = [],
    dataset: Annotated[str, typer.Option(help="another dataset: a name, folder:PATH or npz:PATH")] = "",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    out: Out = Path("runs"),
    workers: Annotated[int, typer.Option(help="processes to work in")] = 1,
    engine: Annotated[str, typer.Option(help="training step: auto, eager, compiled or graph")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or bf16; default the budget's")] = "",
    plugin: Plugins = [],
) -> None:
    """Train and measure what is not yet done, then print the leaderboard."""
    from ganbench.suite import expand, parse_assignment, read_suite

    _load_plugins(plugin)
    chosen = read_suite(suite)
    assignments = [parse_assignment(text) for text in set_]
    names = _split(models or "")
    if models is not None and not names:
        raise UserError("--models names none; leave it out for all models of the suite")
    plan = expand(chosen, budget, list(dict.fromkeys(names)), seeds, assignments, dataset, precision)
    if workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    _check_writable(out)

    from ganbench.execute import Work, choose_device
    from ganbench.measure import find
    from ganbench.progress import work_off
    from ganbench.speed import choose_engine

    for name in chosen.metrics:
        find(name)
    place = choose_device(device)
    form = choose_engine(engine, place)
    works = [
        Work(tuple(specs), chosen.metrics, out, place, data_root, not no_download, tuple(plugin), engine=form)
        for specs in plan.values()
    ]
    work_off(works, workers, out)
    rows = _rows_of([spec.folder(out) for specs in plan.values() for spec in specs])
    _show(rows, "rich")
    folder = out / chosen.name
    print(f"score rows: {folder}/*/*/scores.csv   pictures: {folder}/*/*/samples.png   losses: .../log.csv")


def _check_writable(out: Path) -> None:
    import tempfile

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"--out {out} cannot be written ({error.strerror}); give another folder") from None


@app.command()
def measure(
    runs: Annotated[list[Path], typer.Argument(help="run folders, or folders that contain some")],
    metric: Metrics = "",
    suite: Annotated[str, typer.Option(help="suite whose metrics to take; default the one that was run")] = "",
    device: Device = "auto",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    plugin: Plugins = [],
) -> None:
    """Measure finished runs again, or with new metrics, without training."""
    from ganbench.execute import Work, choose_device, execute
    from ganbench.measure import find
    from ganbench.progress import display
    from ganbench.suite import read_spec, read_suite, suite_names

    _load_plugins(plugin)
    folders = sorted({spec.parent for root in runs for spec in root.resolve().glob("**/spec.json")})
    folders = [folder for folder in folders if (folder / "status.json").exists()]
    if not folders:
        raise UserError(f"no finished run in {', '.join(map(str, runs))}; train some with ganbench run")
    wanted = _split(metric) or (list(read_suite(suite).metrics) if suite else [])
    for name in wanted:
        find(name)
    place = choose_device(device)
    works = []
    for folder in folders:
        spec = read_spec(folder)
        if not wanted and spec.suite not in suite_names():
            raise UserError(f"suite {spec.suite} is a file of yours; give its path by --suite, or name a --metric")
        names = wanted or read_suite(spec.suite).metrics
        out = folder.parent.parent.parent
        if spec.folder(out) != folder:
            raise UserError(f"'{folder}' does not have the name of its specification; was it moved or edited?")
        works.append(
            Work((spec,), tuple(names), out, place, data_root, not no_download, tuple(plugin), again=True)
        )
    with display(works) as tell:
        outcomes = execute(works, 1, tell)
    print(f"measured {sum(outcome.measured for outcome in outcomes)} runs")
    _show(_rows_of(folders), "rich")


def _rows_of(folders: list[Path]) -> pd.DataFrame:
    """Return the score rows of run folders."""
    from ganbench.leaderboard import load_rows

    return load_rows(path for folder in folders if (path := folder / "scores.csv").exists())


def _show(rows: pd.DataFrame, form: str) -> None:
    """Print the leaderboards of some rows, published numbers beside them."""
    from ganbench.leaderboard import aggregate, read_reported, results_folder
    from ganbench.report import render

    text = render(aggregate(rows, read_reported(results_folder())), form)
    if text:
        print(text, end="")


@app.command()
def leaderboard(
    suite: SuiteOption,
    out: Out = Path("runs"),
    committed: Annotated[bool, typer.Option("--committed", help="from results/ instead of --out")] = False,
    form: Annotated[str, typer.Option("--format", help="rich, md, csv, html or latex")] = "rich",
    budget: Annotated[str, typer.Option(help="one budget only; default all, a table each")] = "",
    metric: Metrics = "",
) -> None:
    """Print the leaderboard of a suite from the runs folder, or from the score rows committed in results/."""
    from ganbench.leaderboard import choose, load_rows, results_folder
    from ganbench.report import FORMATS
    from ganbench.suite import read_suite

    if form not in FORMATS:
        raise registry.suggest("format", form, list(FORMATS))
    name = read_suite(suite).name
    if committed:
        paths = list((results_folder() / "scores").glob(f"{name}-*.csv"))
    else:
        paths = list((out / name).glob("*/*/scores.csv"))
    if not paths:
        place = "results/" if committed else f"{out}/{name}"
        raise UserError(f"no score rows of suite {name} in {place}; make some with ganbench run --suite {suite}")
    _show(choose(load_rows(paths), name, budget, _split(metric)), form)


@app.command()
def publish(
    suite: SuiteOption,
    budget: Annotated[str, typer.Option(help="which budget's rows")],
    out: Out = Path("runs"),
    results: Annotated[
        Path, typer.Option(help="folder to write scores/, leaderboards/ and reported.csv to")
    ] = Path("results"),
) -> None:
    """Copy the score rows of finished runs to results/ and write the leaderboards made from them."""
    from ganbench.publish import publish_rows
    from ganbench.suite import read_suite

    for path in publish_rows(read_suite(suite), budget, out, results):
        print(path)


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
        print(f"ganbench: error: {' '.join(text.split())}", file=sys.stderr)
        sys.exit(2)
    if code == INTERRUPTED:
        print("ganbench: stopped; run the same command again to go on", file=sys.stderr)
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
