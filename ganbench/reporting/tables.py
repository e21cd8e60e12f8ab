"""Leaderboard frame -> tables of text, one line per model and one column per metric, with footnotes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from ganbench.reporting.leaderboard import TABLE
from ganbench.reporting.reproduction import VERDICTS, comparison, labels, number

ARROWS = {"higher": "↑", "lower": "↓"}
LEGEND = (
    "mean ± half width of the 95 % t-interval over training seeds; rank a–b: a - 1 models are significantly "
    "better and all but b significantly worse (Welch's t-test, false discovery rate 5 %), so overlapping ranges "
    "are ties; median: beside a mean that differs by more than a tenth and the seeds' interquartile range; "
    "seeds = measured/trained; cost = training of one seed, optimiser steps of all players (equal rounds are not "
    "equal work); references stand outside the ranking, and what copies data says nothing about learning; "
    "↑ higher is better, ↓ lower is better"
)


def tables(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame, list[str]]]:
    """Yield (title, wide table of text, comparison with published numbers, footnotes) of each leaderboard."""
    for key, part in frame.groupby(TABLE, sort=True):
        suite, version, budget, dataset, supervision = key
        title = f"{suite} v{version}, budget {budget}, {dataset}, {supervision}"
        yield title, _wide(part), comparison(part), _footnotes(part)


def _columns(part: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return (metric, protocol) -> heading; protocols that differ never share a column."""
    headings: dict[tuple[str, str], str] = {}
    for metric, protocol, better in (
        part[["metric", "protocol", "better"]].drop_duplicates().itertuples(index=False)
    ):
        twins = sum(name == metric for name, _ in headings)
        headings[metric, protocol] = f"{metric} {ARROWS[better]}" + (f" [{twins + 1}]" if twins else "")
    return headings


def _wide(part: pd.DataFrame) -> pd.DataFrame:
    """Return one line per model, sorted by the first metric: best model first, references last."""
    headings, names = _columns(part), labels(part)
    first = next(iter(headings))
    models: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}
    for row in part.itertuples():
        models.setdefault((row.model, row.config_hash), {})[row.metric, row.protocol] = row
    lines = []
    for (model, config), cells in models.items():
        lead: Any = cells.get(first)
        own = list(cells.values())
        role = own[0].role
        standing = "reference (copies data)" if role == "copy" else role
        line = {
            f"rank by {first[0].partition('@')[0]}": _rank(lead) if role == "model" else standing,
            "model": names[model, config],
            "seeds": f"{max(row.measured for row in own)}/{max(row.seeds for row in own)}",
        }
        for place, heading in headings.items():
            line[heading] = _cell(cells.get(place))
        line["cost"] = cost(own[0].seconds, own[0].steps)
        missing = lead is None or math.isnan(lead.mean)
        order = 0.0 if missing else (lead.mean if lead.better == "lower" else -lead.mean)
        lines.append(((role != "model", missing, order), line))
    return pd.DataFrame([line for _, line in sorted(lines, key=lambda pair: pair[0])])


def _rank(row: object) -> str:
    rank = getattr(row, "rank", math.nan)
    if math.isnan(rank):
        return "–"
    worst = row.worst_rank  # type: ignore[attr-defined]
    return f"{int(rank)}" if worst == rank else f"{int(rank)}–{int(worst)}"


def _cell(row: object) -> str:
    if row is None:
        return ""
    if row.diverged and not row.measured:  # type: ignore[attr-defined]
        return "diverged"
    text = number(row.mean, row.high - row.mean)  # type: ignore[attr-defined]
    text += _median(row)
    text += " †" if row.caution else ""  # type: ignore[attr-defined]
    # A mean over the seeds that had a value must not pass for one over all.
    partial = 0 < row.measured < row.seeds  # type: ignore[attr-defined]
    return f"{text} ({row.measured}/{row.seeds})" if partial else text  # type: ignore[attr-defined]


def _median(row: Any) -> str:
    """Return the median to the digits of the mean, where the mean misleads."""
    apart = abs(row.mean - row.median)
    if row.measured < 4 or not apart > max(row.iqr, 0.1 * abs(row.median)):
        return ""
    return f" (median {number(row.median, row.high - row.mean).partition(' ±')[0]})"


def cost(seconds: float, steps: float) -> str:
    """Return what training took, as "12 s, 20k steps"; seconds that nobody noted (NaN) are left out."""
    time = [] if math.isnan(seconds) else [_amount(seconds, {" h": 3600, " min": 60, " s": 1})]
    return ", ".join([*time, _amount(steps, {"M steps": 1e6, "k steps": 1e3, " steps": 1})])


def _amount(value: float, units: dict[str, float]) -> str:
    """Return a value in the first unit that it fills, or else in the last."""
    name, size = next((unit for unit in units.items() if value >= unit[1]), [*units.items()][-1])
    return (f"{value / size:.2g}" if value < 10 * size else f"{value / size:.0f}") + name


def _footnotes(part: pd.DataFrame) -> list[str]:
    """Return the legend, the protocol of each column, and what is out of date, diverged or missing and why."""
    notes = [LEGEND, *([VERDICTS] if part["published"].notna().any() else [])]
    headings = _columns(part)
    notes += [
        f"{heading}: {protocol.removeprefix(f'{metric} ')}"
        for (metric, protocol), heading in headings.items()
        if protocol
    ]
    if len(earlier := part.loc[part["code_hash"] == "", "model"].unique()):
        which = ", ".join(earlier) if len(earlier) < part["model"].nunique() else "all"
        notes.append(f"of earlier code or settings, to be trained again: {which}")
    doubtful = part[part["caution"] != ""]
    for (metric, caution), group in doubtful.groupby(["metric", "caution"], sort=False):
        notes.append(f"† {metric}, {caution}: {', '.join(dict.fromkeys(group['model']))}")
    lost = part[(part["measured"] < part["seeds"]) & (part["reason"] != "")]
    names = labels(part)
    lost = lost.assign(model=[names[pair] for pair in zip(lost["model"], lost["config_hash"], strict=True)])
    for (model, reason), group in lost.groupby(["model", "reason"], sort=False):
        if group["diverged"].any():
            row = group.iloc[0]
            notes.append(f"{model}: {row['diverged']} of {row['seeds']} seeds diverged, first: {reason}")
    failed = lost[lost["diverged"] == 0]
    for (metric, reason), group in failed.groupby(["metric", "reason"], sort=False):
        models = ", ".join(dict.fromkeys(group["model"]))
        notes.append(f"{metric} not measured for {models}: {reason}")
    return notes
