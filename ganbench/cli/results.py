"""Commands that look at what runs left behind: leaderboards, results to commit, plots."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganbench import registry
from ganbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SuiteOption = Annotated[str, typer.Option("--suite", help="suite name or path of a .toml file")]
Out = Annotated[Path, typer.Option("--out", help="folder of all runs")]
Plugins = Annotated[list[str], typer.Option("--plugin", help="Python file with further models or metrics")]
DataRoot = Annotated[str | None, typer.Option("--data-root", help="dataset folder; default $GANBENCH_DATA")]
NoDownload = Annotated[bool, typer.Option("--no-download", help="never fetch a dataset")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps")]
Workers = Annotated[int, typer.Option("--workers", help="processes that share out models, cores and GPU memory")]
Engine = Annotated[str, typer.Option("--engine", help="training step: auto, eager, compiled or graph")]
Metrics = Annotated[str, typer.Option("--metric", help="comma-separated metrics; default all of the suite")]


def split(text: str) -> list[str]:
    """Return the parts of a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def load_plugins(plugins: list[str]) -> None:
    """Load files with further models or metrics."""
    for plugin in plugins:
        registry.load_plugin(plugin)


def run_folders(roots: Iterable[Path]) -> list[Path]:
    """Return the folders of all finished runs below some folders, and load the plug-ins of their models."""
    from ganbench.runs.folder import load_plugin_of

    roots = list(roots)
    folders = sorted({spec.parent for root in roots for spec in root.resolve().glob("**/spec.json")})
    folders = [folder for folder in folders if (folder / "status.json").exists()]
    if not folders:
        raise UserError(f"no finished run in {', '.join(map(str, roots))}; train some with ganbench run")
    for folder in folders:
        load_plugin_of(folder)
    return folders


def rows_of(folders: Iterable[Path]) -> pd.DataFrame:
    """Return the score rows of run folders."""
    from ganbench.reporting.leaderboard import load_rows

    return load_rows(path for folder in folders if (path := folder / "scores.csv").exists())


def show(rows: pd.DataFrame, form: str) -> None:
    """Print the leaderboards of some rows, published numbers beside them."""
    from ganbench.reporting.render import render
    from ganbench.reporting.results import leaderboard

    if rows.empty:
        return
    print(render(leaderboard(rows), form), end="")


def leaderboard(
    suite: SuiteOption,
    out: Out = Path("runs"),
    committed: Annotated[bool, typer.Option("--committed", help="from results/ instead of --out")] = False,
    form: Annotated[str, typer.Option("--format", help="rich for a terminal, md, csv, html, latex")] = "rich",
    budget: Annotated[str, typer.Option(help="one budget only; default all, a table each")] = "",
    metric: Metrics = "",
) -> None:
    """Print the leaderboard of a suite from --out, a runs folder or a file of rows, or from results/."""
    from ganbench.reporting.leaderboard import choose, load_rows, results_folder
    from ganbench.reporting.render import FORMATS
    from ganbench.suites.suite import read_suite

    if form not in FORMATS:
        raise registry.suggest("format", form, list(FORMATS))
    name = read_suite(suite).name
    if out.is_file() and not committed:
        paths = [out]
    elif committed:
        paths = list((results_folder() / "scores").glob(f"{name}-*.csv"))
    else:
        paths = list((out / name).glob("*/*/scores.csv"))
    if not paths:
        place = "results/" if committed else f"{out}/{name}"
        raise UserError(f"no score rows of suite {name} in {place}; make some with ganbench run --suite {suite}")
    show(choose(load_rows(paths), name, budget, split(metric)), form)


def merge(
    outs: Annotated[list[Path], typer.Argument(help="folders of runs, of several machines")],
    out: Out = Path("runs"),
) -> None:
    """Copy the finished runs of several machines to one folder; nothing is ever overwritten."""
    from ganbench.runs.merge import merge as merge_runs

    copied, same = merge_runs(outs, out)
    print(f"copied {copied} runs to {out}; {same} were there already")


def publish(
    suite: Annotated[str, typer.Option(help="suite name or path; default none: only make all tables anew")] = "",
    budget: Annotated[str, typer.Option(help="which budget's rows")] = "",
    out: Out = Path("runs"),
    results: Annotated[
        Path, typer.Option(help="folder to write scores/, leaderboards/ and reported.csv to")
    ] = Path("results"),
) -> None:
    """Copy the score rows of finished runs to results/ and write the leaderboards made from them."""
    from ganbench.reporting.experiments import write_states
    from ganbench.reporting.publish import publish_rows, write_tables
    from ganbench.suites.suite import read_suite

    if bool(suite) != bool(budget):
        raise UserError("--suite and --budget go together; give both, or none to make all tables anew")
    if suite:
        written = publish_rows(read_suite(suite), budget, out, results)
    else:
        written = write_tables(results, sorted((results / "scores").glob("*.csv")))
    for path in [*written, *write_states(results)]:
        print(path)


def plot(
    runs: Annotated[list[Path], typer.Argument(help="run folders, or folders that contain some")],
    kind: Annotated[
        str, typer.Option(help="training, curves, clusters, traversal, ...; default all that a run has")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="one figure of the first seeds, or a film (.gif); default in each run folder"),
    ] = None,
    models: Annotated[str, typer.Option(help="comma-separated names, in this order; default all")] = "",
    metric: Annotated[str, typer.Option(help="of --kind curves, over the snapshots of the runs")] = "",
    data_root: DataRoot = None,
    no_download: NoDownload = False,
    plugin: Plugins = [],
) -> None:
    """Draw runs: what they learned, on images and sequences; how they went, on 1-D and 2-D data of known law."""
    from ganbench.evaluation.real import real_data
    from ganbench.plotting.curves import draw_curves
    from ganbench.plotting.kinds import KINDS, draw_kind, draw_run, first_seeds, read_run
    from ganbench.plotting.trajectory import draw_figure, draw_trajectory, read_trajectory
    from ganbench.suites.spec import read_spec

    load_plugins(plugin)
    if kind not in ("", "training", "curves", *KINDS):
        raise registry.suggest("kind of plot", kind, ["training", "curves", *KINDS])
    if (kind == "curves") != bool(metric) or (metric and out is None):
        raise UserError("--kind curves needs --metric and --out, and only it takes a metric")
    specs = {folder: read_spec(folder) for folder in run_folders(runs)}
    for name in split(models):
        if name not in {spec.model for spec in specs.values()}:
            raise registry.suggest("model among these runs", name, sorted({spec.model for spec in specs.values()}))
    wanted = split(models) or [""]
    folders = [folder for name in wanted for folder, spec in specs.items() if name in ("", spec.model)]
    source = data_root, not no_download

    if kind == "curves" and out is not None:
        draw_curves(
            [(folder, specs[folder], real_data(specs[folder].dataset, *source)) for folder in folders], metric, out
        )
        print(out)
        return

    def kind_of(folder: Path) -> str:
        vectors = len(real_data(specs[folder].dataset, *source).data.data_spec.shape) == 1
        return kind or ("training" if vectors else "")

    if out is not None:
        [chosen, *others] = {kind_of(folder) for folder in folders}
        if others or not chosen:
            raise UserError(f"--out is for one kind of plot; give --kind, one of {', '.join(KINDS)}")
        if chosen == "training":
            draw_figure([read_trajectory(folder, *source) for folder in folders], out)
        else:
            draw_kind(chosen, [read_run(folder, *source) for folder in first_seeds(folders)], out)
        print(out)
        return
    errors = []
    for folder in folders:
        try:
            chosen = kind_of(folder)
            if chosen == "training":
                paths = draw_trajectory(read_trajectory(folder, *source))
            else:
                paths = draw_run(read_run(folder, *source), folder, chosen)
            print(*paths, sep="\n")
        except UserError as error:
            errors.append(error)
    if len(errors) == len(folders):
        raise errors[0]
    for left_out in errors:
        print(f"left out: {left_out}", file=sys.stderr)
