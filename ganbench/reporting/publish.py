"""From finished runs to the committed files of results/: score rows, leaderboards, published numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ganbench import cells, registry
from ganbench.errors import UserError, suggest
from ganbench.names import HELD_BACK
from ganbench.records import to_json, write_whole
from ganbench.reporting.claims import write_claims
from ganbench.reporting.leaderboard import aggregate, choose, load_rows, read_reported
from ganbench.reporting.render import pipes, render, tables
from ganbench.runs.code import code_of
from ganbench.runs.scores import ScoreRow, read_rows, write_rows
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import Suite

# In a README: <!-- leaderboard SCORES METRIC,METRIC MODEL,MODEL --> table <!-- end leaderboard -->
BLOCK = re.compile(r"(<!-- leaderboard (\S+) (\S+) (\S+) -->\n).*?(<!-- end leaderboard -->)", re.DOTALL)
IDENTITY = ["suite", "version", "budget", "dataset", "model", "config_hash", "code_hash"]  # columns of score rows
REPORTED = ["model", "dataset", "metric", "value", "error", "comparable", "source", "note", "protocol", "training"]


def reported() -> pd.DataFrame:
    """Return the published numbers that stand in the models' own files."""
    lines = [
        {"model": name, **{key: getattr(number, key) for key in REPORTED[1:]}}
        for name in registry.models.names()
        for number in registry.models.get(name).published
    ]
    return pd.DataFrame(lines, columns=REPORTED)


def publish_rows(suite: Suite, budget: str, out: Path, results: Path) -> list[Path]:
    """Write results/scores, settings, leaderboards and reported.csv for one suite and budget; return the files.

    Runs with settings of the user's own (`--set`), of other code or of an older suite version are experiments and
    stay out. Committed rows of the suite's models stay where no run here replaces them: those of models that have
    no run here, and those of other seeds of the same settings and code.
    """
    paths = list((out / suite.name).glob("*/*/scores.csv"))
    if not paths:
        raise UserError(f"no score rows of suite {suite.name} in {out}/{suite.name}; make some with ganbench run")
    rows = choose(load_rows(paths), suite.name, budget)
    # The suite's first metric ranks, whenever it was measured.
    place = rows["metric"].map({metric: index for index, metric in enumerate(suite.metrics)})
    by = ["dataset", "model", "config_hash", "seed", "place"]
    rows = rows.assign(place=place).sort_values(by, kind="stable").drop(columns="place")
    # Trials of tuning are measured on validation items: the first of each model has the suite's own settings.
    datasets = [name for name in rows["dataset"].unique() if not name.startswith(HELD_BACK)]
    official = {identity(specs[0]): specs[0] for specs in plan(suite, budget, datasets)}
    rows = rows[[key in official for key in rows[IDENTITY].itertuples(index=False, name=None)]]
    if rows.empty:
        raise UserError(
            f"no run of suite {suite.name}, budget {budget}, in {out} has the suite's settings and today's code"
        )
    runs = list(dict.fromkeys(rows[[*IDENTITY, "seed"]].itertuples(index=False, name=None)))
    version = rows["version"].iat[0]
    scores = results / "scores" / f"{suite.name}-v{version}-{budget}.csv"
    if scores.exists():
        known, new = load_rows([scores]), {run[3:5] for run in runs}
        names, done = {spec.model for spec in official.values()}, set(runs)
        known = known[
            [
                run[4] in names and (run[3:5] not in new or (run[:-1] in official and run not in done))
                for run in known[[*IDENTITY, "seed"]].itertuples(index=False, name=None)
            ]
        ]
        rows = pd.concat([rows, known[rows.columns]]).sort_values(by[:-1], kind="stable") if len(known) else rows
    write_rows(scores, [ScoreRow(**row) for row in rows.to_dict("records")])
    settings = write_settings(scores, [official[key] for key in dict.fromkeys(run[:-1] for run in runs)], results)
    return [scores, *settings, *write_tables(results, [scores])]


def write_tables(results: Path, scores: Iterable[Path]) -> list[Path]:
    """Write all that follows from committed rows: the leaderboards of some score files, and what all share."""
    shrink_legacy(results)
    write_whole(results / "reported.csv", reported().map(cells.csv).to_csv(index=False, lineterminator="\n"))
    written = [results / "reported.csv", *(path for file in scores for path in write_leaderboards(file, results))]
    written.append(write_claims(results))
    readme = results.parent / "README.md"
    if readme.is_file() and BLOCK.search(readme.read_text(encoding="utf-8")):
        write_whole(readme, refresh_readme(readme, results))
        written.append(readme)
    return written


def plan(suite: Suite, budget: str, datasets: Iterable[str]) -> list[list[RunSpec]]:
    """Return what a suite expands to today on some datasets, a list of seeds per model."""
    return [specs for dataset in datasets for specs in expand(suite, budget, dataset=dataset).values()]


def identity(spec: RunSpec) -> tuple[str | int, ...]:
    """Return what the rows of a run that is trained today have in the columns of IDENTITY."""
    return spec.suite, spec.version, spec.budget, spec.dataset, spec.model, spec.config_hash, code_of(spec)


def write_settings(scores: Path, specs: Iterable[RunSpec], results: Path) -> list[Path]:
    """Write a file of all settings for each new identity, and remove those of identities without rows."""
    folder, written = results / "settings" / scores.stem, []
    for spec in specs:
        written.append(folder / f"{spec.model}-{spec.config_hash}.json")
        values = {**to_json(spec), "code_hash": code_of(spec)}
        del values["seed"], values["snapshots"]
        write_whole(written[-1], json.dumps(values, indent=1, sort_keys=True) + "\n")
    known = {f"{row.model}-{row.config_hash}.json" for row in read_rows(scores)}
    for path in folder.glob("*.json"):
        if path.name not in known:
            path.unlink()
    return written


def shrink_legacy(results: Path) -> None:
    """Strike identities off results/legacy.csv that no committed row has any more; none is ever added."""
    if (path := results / "legacy.csv").is_file():
        legacy, rows = pd.read_csv(path, dtype=str), load_rows((results / "scores").glob("*.csv")).astype(str)
        write_whole(
            path, legacy.merge(rows[list(legacy)].drop_duplicates()).to_csv(index=False, lineterminator="\n")
        )


def write_leaderboards(scores: Path, results: Path) -> list[Path]:
    """Write the leaderboard of one committed score file as markdown and CSV; return both paths."""
    frame = aggregate(load_rows([scores]), read_reported(results))
    written = []
    for form in ("md", "csv"):
        path = results / "leaderboards" / f"{scores.stem}.{form}"
        write_whole(path, render(frame, form))
        written.append(path)
    return written


def refresh_readme(readme: Path, results: Path) -> str:
    """Return the text of a README with each leaderboard block made anew from the committed score rows.

    A block shows some models and metrics of a leaderboard, ranked among all its models, without its notes.
    """

    def table(block: re.Match[str]) -> str:
        rows = load_rows([results / "scores" / f"{block[2]}.csv"])
        frame = aggregate(choose(rows, rows["suite"].iat[0], metrics=block[3].split(",")))
        names = block[4].split(",")
        for name in names:
            if name not in set(frame["model"]):
                raise suggest("model among the score rows", name, sorted(frame["model"].unique()))
        [(_, wide, _, _)] = tables(frame[frame["model"].isin(names)])
        return block[1] + pipes(wide) + "\n" + block[5]

    return BLOCK.sub(table, readme.read_text(encoding="utf-8"))
