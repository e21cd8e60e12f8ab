"""Ours beside the published numbers: whether a number reproduces, and whether the order of the models does."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd


def number(mean: float, half: float = math.nan) -> str:
    """Return a mean to the two digits that its interval supports, as "3.210 ± 0.042"; a dash for NaN."""
    if math.isnan(mean):
        return "–"
    if not math.isfinite(half) or half == 0:
        return f"{mean:.4g}"
    if half < 1e-6 or max(abs(mean), half) >= 1e6:
        return f"{mean:.4g} ± {half:.2g}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def labels(part: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return (model, config hash) -> name, with the hash where a model stands there with several settings."""
    pairs = part[["model", "config_hash"]].drop_duplicates()
    several = pairs["model"].duplicated(keep=False)
    return {
        (model, config): f"{model} ({config})" if twin else model
        for (model, config), twin in zip(pairs.itertuples(index=False), several, strict=True)
    }


def comparison(part: pd.DataFrame) -> pd.DataFrame:
    """Return a line per published number: ours, the gap, and what reproduces.

    Args:
        part: one leaderboard, from `ganbench.reporting.leaderboard.aggregate`.

    The size reproduces if the gap lies within our interval plus the published error. The order is that of all
    pairs with another model of the same paper whose published numbers differ: ours agrees or contradicts where
    the intervals of the two models do not overlap, and else is open.
    """
    lines, names = [], labels(part)
    rows = part[part["published"].notna()]
    for row in rows.itertuples():
        lines.append(
            {
                "model": names[row.model, row.config_hash],
                "metric": row.metric,
                "ours": number(row.mean, row.high - row.mean),
                "published": number(row.published, row.published_error),
                "gap": "–" if math.isnan(row.gap) else f"{row.gap:+.4g}",
                "verdict": _verdict(row),
                "order": _order(row, rows),
                "source and differences": "; ".join(text for text in (row.source, row.note) if text),
            }
        )
    return pd.DataFrame(lines)


def _verdict(row: Any) -> str:
    """Return whether our number is the published one."""
    if row.comparable is not True:
        return "not comparable"
    if math.isnan(row.mean):
        return "no value"
    half = row.high - row.mean
    if abs(row.gap) <= half and abs(half) > abs(row.published):
        return "open"  # the interval is wider than the number itself: agreement would mean nothing
    slack = 0.0 if math.isnan(row.published_error) else row.published_error
    reach = (0.0 if math.isnan(half) else half) + slack
    return "reproduces" if abs(row.gap) <= reach else "does not reproduce"


def _order(row: Any, rows: pd.DataFrame) -> str:
    """Return how many of the paper's pairs with this model stand in the same order here."""
    found = {"agrees": 0, "contradicts": 0, "open": 0}
    for other in rows.itertuples():
        same = (other.metric, _paper(other.source)) == (row.metric, _paper(row.source))
        if not same or other.model == row.model or other.published == row.published:
            continue
        if row.comparable is not True or other.comparable is not True:
            continue
        if not (row.low > other.high or other.low > row.high):  # also where an interval is missing
            found["open"] += 1
        else:
            agrees = (row.mean > other.mean) == (row.published > other.published)
            found["agrees" if agrees else "contradicts"] += 1
    return ", ".join(f"{what} {count}" for what, count in found.items() if count)


def _paper(source: str) -> str:
    """Return "Lin et al. 2018" of "Lin et al. 2018, Table 2"."""
    return source.partition(",")[0]
