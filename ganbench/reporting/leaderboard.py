"""Score rows -> leaderboard: means and intervals over training seeds, ranks with ties, published numbers.

Needs pandas and SciPy only, never torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ganbench.errors import UserError, suggest
from ganbench.reporting.significance import better_and_worse
from ganbench.runs.scores import CELLS, read_columns

Array = np.ndarray
LEVEL = 0.95  # of the intervals
# In the detail of a score whose value is doubtful.
CAUTIONS = ("edge of the grid", "rank-deficient", "off the manifold")
TABLE = ["suite", "version", "budget", "dataset", "supervision"]  # one leaderboard each


def results_folder() -> Path:
    """Return the folder of committed results: of the checkout, or of the installed package."""
    here = Path(__file__).parent.parent
    checkout = here.parent / "results"
    return checkout if checkout.is_dir() else here / "_results"


def load_rows(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the rows of score files, or of one .parquet file, as one frame; UserError if one is damaged."""
    paths = sorted(paths)
    if [path.suffix for path in paths] == [".parquet"]:
        return _read_parquet(paths[0])
    columns: dict[str, list[Any]] = {name: [] for name in CELLS}
    for path in paths:
        try:
            for name, cells in read_columns(path).items():
                columns[name] += cells
        except ValueError as error:
            raise UserError(f"{error}; delete it and measure again") from None
    return pd.DataFrame(columns)


def _read_parquet(path: Path) -> pd.DataFrame:
    """Return the rows of a frame of score rows that pandas wrote."""
    try:
        return pd.read_parquet(path)[list(CELLS)]
    except ImportError:
        raise UserError(f"'{path}' needs pyarrow; pip install 'ganbench[parquet]'") from None
    except (ValueError, KeyError, OSError) as error:
        raise UserError(f"'{path}' holds no score rows: {error}") from None


def choose(rows: pd.DataFrame, suite: str, budget: str = "", metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Return the rows of one suite, and of one budget and some metrics if given; UserError if none is left."""
    for column, wanted in (("suite", [suite]), ("budget", [budget] if budget else []), ("metric", list(metrics))):
        if not wanted:
            continue
        known = sorted(rows[column].unique()) if len(rows) else []
        for name in wanted:
            if column == "metric" and name in {metric.partition("@")[0] for metric in known}:
                continue
            if name not in known:
                short = {metric.partition("@")[0] for metric in known} if column == "metric" else set()
                raise suggest(f"{column} among the score rows", name, sorted({*known, *short}))
        keep = rows[column].isin(wanted)
        if column == "metric":
            keep |= rows[column].str.partition("@")[0].isin(wanted)
        rows = rows[keep]
    return rows


def aggregate(rows: pd.DataFrame, reported: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one line per table, metric, protocol and model.

    Args:
        rows: score rows.
        reported: published numbers, with the columns of `ganbench.reporting.publish.REPORTED`.

    Returns:
        Frame with the columns of TABLE, metric, better, protocol, model, role, config_hash, code_hash ("" if any
        run is of earlier code or settings), mean, low, high (95 % t-interval over seeds), median, iqr
        (interquartile range over seeds), sampling_error (mean standard error within a run), seconds and steps
        (means over seeds of what training cost), measured and seeds (counts), diverged (count), reason, caution
        (detail of a doubtful value), rank (1 + number of significantly better models) and worst_rank (number of
        models less the significantly worse ones), both NaN for references and models without a value, published,
        published_error, gap, comparable, source, note, training.
    """
    rows = rows.assign(protocol=_protocols(rows))
    _check_seeds(rows)
    keys = [*TABLE, "metric", "better", "protocol", "model", "role", "config_hash"]
    rows["line"] = line = rows.groupby(keys, sort=False).ngroup()
    frame = rows.drop_duplicates("line").set_index("line")[keys]
    frame["code_hash"] = rows.groupby("line")["code_hash"].min()
    measured = rows["status"] == "measured"
    values, count = rows["value"].where(measured), _sum(measured, line)
    mean = _mean(values, line)
    error = _standard_error(values - mean[line], line)
    half = stats.t.ppf(0.5 + LEVEL / 2, np.maximum(count - 1, 1)) * error
    frame["mean"], frame["low"], frame["high"] = mean, mean - half, mean + half
    quartiles = values.groupby(line).quantile([0.25, 0.5, 0.75]).unstack()
    frame["median"], frame["iqr"] = quartiles[0.5], quartiles[0.75] - quartiles[0.25]
    frame["sampling_error"] = _mean(rows["std_error"], line)
    frame["seconds"], frame["steps"] = _mean(rows["seconds"], line), _mean(rows["steps"], line)
    frame["measured"], frame["seeds"] = count, _sum(line >= 0, line)
    frame["diverged"] = _sum(rows["status"] == "diverged", line)
    frame["reason"] = _first(rows[~measured], "reason")
    frame["caution"] = _first(rows[rows["detail"].str.contains("|".join(CAUTIONS))], "detail")
    frame = frame.fillna({"reason": "", "caution": ""})
    frame[["rank", "worst_rank"]] = _ranks(frame, error)
    return _add_published(frame, reported)


def _sum(values: pd.Series, line: pd.Series) -> Array:
    """Return the sum of each line's values."""
    sums = np.bincount(line, values)
    return sums.astype(int) if values.dtype == bool else sums


def _mean(values: pd.Series, line: pd.Series) -> Array:
    """Return the mean of each line's values, NaN if there is none."""
    with np.errstate(invalid="ignore"):
        return _sum(values.fillna(0), line) / _sum(values.notna(), line)


def _standard_error(deviations: pd.Series, line: pd.Series) -> Array:
    """Return the standard error of each line's mean, NaN for less than two values or infinite ones."""
    count = _sum(deviations.notna(), line)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(_sum(deviations.fillna(0) ** 2, line) / (count - 1)) / np.sqrt(count)
    return np.where(np.isfinite(error), error, math.nan)


def _first(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return the first text of each line that has any."""
    return rows.drop_duplicates("line").set_index("line")[column]


def _protocols(rows: pd.DataFrame) -> pd.Series:
    """Return the protocol of each row.

    What could not be measured has none of its own: it belongs to the most frequent one of its model or metric, of
    several the first of the alphabet.
    """
    protocols = rows["protocol"].where(rows["status"] == "measured", "")
    for group in ([*TABLE, "metric", "model", "config_hash"], [*TABLE, "metric"]):
        lacking = protocols == ""
        if lacking.any():
            pairs = pd.DataFrame({"group": rows.groupby(group).ngroup(), "protocol": protocols})
            counts = (
                pairs[~lacking].groupby(["group", "protocol"]).size().sort_values(ascending=False, kind="stable")
            )
            usual = counts.reset_index().drop_duplicates("group").set_index("group")["protocol"]
            protocols = protocols.mask(lacking, usual.reindex(pairs["group"], fill_value="").to_numpy())
    return protocols


def _check_seeds(rows: pd.DataFrame) -> None:
    """Refuse two rows of one seed: they come from a suite that was changed without a new version."""
    twice = rows[rows.duplicated([*TABLE, "metric", "protocol", "model", "config_hash", "seed"])]
    if len(twice):
        row = twice.sort_values("seed", kind="stable").iloc[0]
        table = f"{row['suite']} v{row['version']} {row['budget']} {row['dataset']}"
        raise UserError(
            f"{row['model']} has two rows of {row['metric']} for seed {row['seed']} in {table}; "
            "if the suite was changed, raise its version or delete the older runs"
        )


def _ranks(frame: pd.DataFrame, error: Array) -> pd.DataFrame:
    """Return the best and worst rank that each line can claim, from the significant differences of its table."""
    out = pd.DataFrame({"rank": math.nan, "worst_rank": math.nan}, index=frame.index)
    ranked = frame[(frame["role"] == "model") & frame["mean"].notna()]
    for _, lines in ranked.groupby([*TABLE, "metric", "protocol"], sort=False):
        sign = 1 if lines["better"].iat[0] == "higher" else -1
        means, counts = sign * lines["mean"].to_numpy(), lines["measured"].to_numpy()
        better, worse = better_and_worse(means, error[lines.index] * np.sqrt(counts), counts)
        out.loc[lines.index, "rank"], out.loc[lines.index, "worst_rank"] = 1 + better, len(lines) - worse
    return out


def _add_published(frame: pd.DataFrame, reported: pd.DataFrame | None) -> pd.DataFrame:
    """Put numbers printed for the same model, dataset and metric beside ours, where our protocol fits."""
    keys = ["model", "dataset", "metric"]
    if reported is None:
        published = ["value", "error", "source", "comparable", "note", "protocol", "training"]
        reported = pd.DataFrame(columns=[*keys, *published])
    extra = reported.rename(columns={"value": "published", "error": "published_error", "protocol": "asked"})
    pairs = frame[[*keys, "protocol"]].drop_duplicates().merge(extra, on=keys)
    fits = [line.asked in line.protocol for line in pairs.itertuples()]
    merged = frame.merge(pairs.loc[fits].drop(columns="asked"), how="left", on=[*keys, "protocol"])
    merged["published"] = pd.to_numeric(merged["published"])
    merged["gap"] = (merged["mean"] - merged["published"]).where(merged["comparable"].eq(True))
    return merged


def read_reported(folder: Path) -> pd.DataFrame:
    """Return the published numbers kept in results/reported.csv; UserError if the file is missing."""
    if not (path := folder / "reported.csv").is_file():
        raise UserError(f"'{path}' is missing; make it with ganbench publish")
    texts = ["note", "protocol", "training"]
    return pd.read_csv(path, dtype=dict.fromkeys(texts, str)).fillna(dict.fromkeys(texts, ""))
