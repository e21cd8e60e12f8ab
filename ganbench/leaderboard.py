"""Score rows -> leaderboard: means and intervals over training seeds, ranks with ties, published numbers.

Needs pandas and SciPy only, never torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ganbench.record import read_rows
from ganbench.registry import UserError, suggest

LEVEL = 0.95  # of the intervals
FALSE_DISCOVERIES = 0.05  # share of pairs wrongly told apart
CAUTIONS = ("edge of the grid", "rank-deficient")  # in the detail of a score whose value is doubtful
TABLE = ["suite", "version", "budget", "dataset", "league"]  # one leaderboard each


def results_folder() -> Path:
    """Return the folder of committed results: of the checkout, or of the installed package."""
    here = Path(__file__).parent
    checkout = here.parent / "results"
    return checkout if checkout.is_dir() else here / "_results"


def load_rows(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the rows of score files as one frame; UserError if one is damaged."""
    records = []
    for path in sorted(paths):
        try:
            records += [asdict(row) for row in read_rows(path)]
        except ValueError as error:
            raise UserError(f"{error}; delete it and measure again") from None
    return pd.DataFrame(records)


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
        reported: published numbers, with columns model, dataset, metric, value, error, source, comparable, note.

    Returns:
        Frame with the columns of TABLE, metric, better, protocol, model, role, config_hash, mean, low, high (95 %
        t-interval over seeds), sampling_error (mean standard error within a run), measured and seeds (counts),
        diverged (count), reason, caution (detail of a doubtful value), rank (1 + number of models told apart as
        better) and worst_rank (number of models less those told apart as worse), both NaN for references and
        models without a value, published, published_error, gap, comparable, source, note.
    """
    rows = rows.copy()
    # What could not be measured has no protocol of its own: it belongs to the usual one of its model or metric.
    rows["protocol"] = rows["protocol"].where(rows["status"] == "measured", "")
    for group in ([*TABLE, "metric", "model", "config_hash"], [*TABLE, "metric"]):
        usual = rows.groupby(group)["protocol"].transform(_most_frequent)
        rows["protocol"] = rows["protocol"].where(rows["protocol"] != "", usual)
    _check_seeds(rows)
    keys = [*TABLE, "metric", "better", "protocol", "model", "role", "config_hash"]
    lines = [
        {**dict(zip(keys, key, strict=True)), **_summary(group)} for key, group in rows.groupby(keys, sort=False)
    ]
    frame = pd.DataFrame(lines)
    frame[["rank", "worst_rank"]] = _ranks(rows, frame)
    return _add_published(frame, reported)


def _most_frequent(protocols: pd.Series) -> str:
    """Return the most frequent text that is not empty; of several the first of the alphabet."""
    counts = protocols[protocols != ""].mode()
    return counts.iat[0] if len(counts) else ""


def _check_seeds(rows: pd.DataFrame) -> None:
    """Refuse two rows of one seed: they come from a suite that was changed without a new version."""
    twice = rows[rows.duplicated([*TABLE, "metric", "protocol", "model", "config_hash", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        table = f"{row['suite']} v{row['version']} {row['budget']} {row['dataset']}"
        raise UserError(
            f"{row['model']} has two rows of {row['metric']} for seed {row['seed']} in {table}; "
            "if the suite was changed, raise its version or delete the older runs"
        )


def _summary(group: pd.DataFrame) -> dict[str, float | int | str]:
    """Return mean, interval and counts of one model's seeds."""
    values = group.loc[group["status"] == "measured", "value"]
    mean = values.mean() if len(values) else math.nan
    half = math.nan
    if len(values) > 1 and np.isfinite(values).all():
        half = stats.t.ppf(0.5 + LEVEL / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    reasons = group.loc[group["status"] != "measured", "reason"]
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "sampling_error": group["std_error"].mean(),
        "measured": len(values),
        "seeds": len(group),
        "diverged": int((group["status"] == "diverged").sum()),
        "reason": reasons.iat[0] if len(reasons) else "",
        "caution": next((d for d in group["detail"] if any(word in d for word in CAUTIONS)), ""),
    }


def _ranks(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the best and worst rank that each line can claim, from pairs told apart by Welch's t-test."""
    out = pd.DataFrame({"rank": math.nan, "worst_rank": math.nan}, index=frame.index)
    keys = [*TABLE, "metric", "protocol"]
    measured = rows[(rows["status"] == "measured")]
    seeds = {
        key: group["value"].to_numpy()
        for key, group in measured.groupby([*keys, "model", "config_hash"], sort=False)
    }
    for key, lines in frame[(frame["role"] == "model") & frame["mean"].notna()].groupby(keys, sort=False):
        sign = 1 if lines["better"].iat[0] == "higher" else -1
        values = [
            sign * seeds[(*key, model, config)]
            for model, config in zip(lines["model"], lines["config_hash"], strict=True)
        ]
        better = _told_apart(values)
        out.loc[lines.index, "rank"] = 1 + better.sum(0)
        out.loc[lines.index, "worst_rank"] = len(lines) - better.sum(1)
    return out


def _told_apart(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return matrix [i, j]: is i better than j, with false discoveries held at 5 % over all pairs."""
    count = len(values)
    better = np.zeros((count, count), dtype=bool)
    pairs = list(combinations(range(count), 2))
    if not pairs:
        return better
    p = np.array([_p_value(values[i], values[j]) for i, j in pairs])
    for (i, j), adjusted in zip(pairs, stats.false_discovery_control(p), strict=True):
        if adjusted < FALSE_DISCOVERIES:
            first = values[i].mean() > values[j].mean()
            better[(i, j) if first else (j, i)] = True
    return better


def _p_value(a: np.ndarray, b: np.ndarray) -> float:
    """Return Welch's two-sided p; 1 where too few or infinite values allow no test."""
    if len(a) < 2 or len(b) < 2:
        return 1.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return 1.0
    if a.std() == 0 and b.std() == 0:
        return 1.0 if a[0] == b[0] else 0.0
    moments = [(x.mean(), x.std(ddof=1), len(x)) for x in (a, b)]
    return float(stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue)


def _add_published(frame: pd.DataFrame, reported: pd.DataFrame | None) -> pd.DataFrame:
    """Put published numbers of the same model, dataset and metric beside ours."""
    if reported is None or reported.empty:
        reported = pd.DataFrame(
            columns=["model", "dataset", "metric", "value", "error", "source", "comparable", "note"]
        )
    extra = reported.rename(columns={"value": "published", "error": "published_error"})
    merged = frame.merge(extra, how="left", on=["model", "dataset", "metric"])
    merged["published"] = pd.to_numeric(merged["published"])
    merged["gap"] = (merged["mean"] - merged["published"]).where(merged["comparable"].eq(True))
    return merged


def read_reported(folder: Path) -> pd.DataFrame:
    """Return the published numbers kept in results/reported.csv; UserError if the file is missing."""
    path = folder / "reported.csv"
    if not path.is_file():
        raise UserError(f"'{path}' is missing; make it with ganbench publish")
    return pd.read_csv(path, keep_default_na=True).fillna({"note": ""})
