"""Ours beside the published numbers: whether a number reproduces, and whether the order of the models does."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

MARGIN = 0.05  # of a published number: what a gap may be at most
VERDICTS = (
    f"reproduces: the 95 % interval of the gap, the published ± included, lies within {100 * MARGIN:g} % of the"
    " published number; does not reproduce: it lies outside; undecided: it does both; other protocol: other"
    " networks or a shorter training than the paper's, so no verdict; order: of the pairs of models of one paper"
)


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

    The size is an equivalence test (two one-sided tests): it reproduces if the interval of the difference, from
    ours and the published error, lies within MARGIN of the published number, does not if it lies outside, and else
    is undecided. It is asked only where the published number names this suite and budget as its training, or of
    references, which are fitted and need no training. The
    order is that of all pairs with another model of the same paper whose published numbers differ: ours agrees or
    contradicts where the intervals of the two models do not overlap, and else is open.
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
                "verdict": verdict(row),
                "order": _order(row, rows),
                "source and differences": "; ".join(text for text in (row.source, row.note) if text),
            }
        )
    return pd.DataFrame(lines)


def verdict(row: Any) -> str:
    """Return whether our number is the published one, which only the paper's own protocol can tell."""
    if row.comparable is not True:
        return "not comparable"
    if math.isnan(row.mean):
        return "no value"
    if row.role == "model" and row.training != f"{row.suite}/{row.budget}":
        return "other protocol"
    margin = MARGIN * abs(row.published)
    half = math.hypot(row.high - row.mean, 0.0 if math.isnan(row.published_error) else row.published_error)
    if abs(row.gap) + half <= margin:
        return "reproduces"
    return "does not reproduce" if abs(row.gap) - half > margin else "undecided"  # also where there is no interval


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
