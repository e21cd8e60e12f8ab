"""Score rows from files, and the leaderboards they make: what a script asks for. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ganbench.errors import UserError
from ganbench.reporting.leaderboard import aggregate, load_rows, read_reported, results_folder


def load_results(path: str | Path | None = None) -> pd.DataFrame:
    """Return score rows, one line per run and metric.

    Args:
        path: a folder of runs, a folder of results such as `results`, or one score file; default: the rows that
            come with the package.

    Returns:
        Frame with the columns of `ganbench.runs.scores.ScoreRow`.

    Raises:
        UserError: there is no score file, or one is damaged.
    """
    place = results_folder() if path is None else Path(path)
    if place.is_file():
        return load_rows([place])
    paths = [*place.rglob("scores.csv"), *(place / "scores").glob("*.csv")]
    if not paths:
        raise UserError(f"no score rows in {place}; make some with ganbench run")
    return load_rows(paths)


def leaderboard(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one line per table, metric, protocol and model, with published numbers beside ours.

    Args:
        rows: score rows, or some of them.

    Returns:
        Frame with the columns that `ganbench.reporting.leaderboard.aggregate` names: mean, low, high, rank, ...
    """
    return aggregate(rows, read_reported(results_folder()))
