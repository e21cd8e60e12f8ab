"""Leaderboard frame -> terminal, markdown, CSV, HTML and LaTeX. Formatting happens here and nowhere else."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from ganbench.reporting.leaderboard import TABLE
from ganbench.reporting.reproduction import comparison, labels, number

FORMATS = ("rich", "md", "csv", "html", "latex")
ARROWS = {"higher": "↑", "lower": "↓"}
LATEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "–": "--"}
)
LEGEND = (
    "mean ± half width of the 95 % t-interval over training seeds; rank a–b: a - 1 models are told apart as "
    "better and all but b as worse (Welch's t-test, false discovery rate 5 %), so overlapping ranges are ties; "
    "seeds = measured/trained; floor and ceiling are references outside the ranking; "
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
        line = {
            f"rank by {first[0].partition('@')[0]}": _rank(lead) if role == "model" else role,
            "model": names[model, config],
            "seeds": f"{max(row.measured for row in own)}/{max(row.seeds for row in own)}",
        }
        for place, heading in headings.items():
            line[heading] = _cell(cells.get(place))
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
    # A mean over the seeds that had a value must not pass for one over all.
    partial = 0 < row.measured < row.seeds  # type: ignore[attr-defined]
    return f"{text} ({row.measured}/{row.seeds})" if partial else text  # type: ignore[attr-defined]


def _footnotes(part: pd.DataFrame) -> list[str]:
    """Return the legend, the protocol of each column, and what diverged or is missing and why."""
    notes = [LEGEND]
    headings = _columns(part)
    notes += [
        f"{heading}: {protocol.removeprefix(f'{metric} ')}"
        for (metric, protocol), heading in headings.items()
        if protocol
    ]
    doubtful = part[part["caution"] != ""]
    for (metric, caution), group in doubtful.groupby(["metric", "caution"], sort=False):
        notes.append(f"{metric}, {caution}: {', '.join(dict.fromkeys(group['model']))}")
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


def render(frame: pd.DataFrame, form: str, console: Console | None = None) -> str:
    """Return the leaderboards of a frame in one of FORMATS; "rich" prints to the console and returns nothing."""
    if form == "csv":
        return frame.to_csv(index=False, lineterminator="\n")
    if form == "rich":
        _print(frame, console or Console())
        return ""
    text = io.StringIO()
    for title, wide, beside, notes in tables(frame):
        parts = [wide] + ([beside] if len(beside) else [])
        if form == "md":
            text.write(f"## {title}\n\n")
            for table in parts:
                text.write(table.to_markdown(index=False, disable_numparse=True) + "\n\n")
            text.write("\n".join(f"- {note}" for note in notes) + "\n\n")
        elif form == "html":
            text.write(f"<h2>{html.escape(title)}</h2>\n")
            for table in parts:
                text.write(table.to_html(index=False, border=0) + "\n")
            text.write("<ul>" + "".join(f"<li>{html.escape(note)}</li>\n" for note in notes) + "</ul>\n")
        else:
            for table in parts:
                text.write(_latex(table, title) + "\n")
            text.write("".join(f"% {note}\n" for note in notes))
    return text.getvalue()


def _latex(table: pd.DataFrame, title: str) -> str:
    """Return a table that needs no package but booktabs."""
    escaped = table.map(lambda text: text.translate(LATEX)).rename(columns=lambda text: text.translate(LATEX))
    return escaped.style.hide(axis="index").to_latex(hrules=True, caption=title.translate(LATEX))


def _print(frame: pd.DataFrame, console: Console) -> None:
    """Print to a terminal, folding the metrics into several tables where it is too narrow for one."""
    for title, wide, beside, notes in tables(frame):
        heads, metrics = list(wide.columns[:3]), list(wide.columns[3:])
        room = console.width - sum(_width(wide, name) for name in heads) - 1
        block: list[str] = []
        blocks = [block]
        for name in metrics:
            if block and sum(_width(wide, other) for other in [*block, name]) > room:
                block = []
                blocks.append(block)
            block.append(name)
        for names in blocks:
            console.print(_rich(wide[heads + names], title))
        if len(beside):
            _print_comparison(beside, console)
        for note in notes:
            console.print(note, style="dim", highlight=False, markup=False)


def _print_comparison(table: pd.DataFrame, console: Console) -> None:
    """Print as a table that leaves room for the sources, or else as one sentence per number."""
    title = "beside published numbers"
    if sum(_width(table, name) for name in list(table.columns)[:-1]) + 40 <= console.width:
        console.print(_rich(table, title))
        return
    console.print(title, style="italic")
    for model, metric, ours, published, gap, verdict, order, source in table.itertuples(index=False):
        said = f"{verdict}, order {order}" if order else verdict
        line = f"{model} {metric}: ours {ours}, published {published}, gap {gap}: {said}; {source}"
        console.print(line, highlight=False, markup=False)


def _width(table: pd.DataFrame, name: str) -> int:
    return max(*(len(word) for word in _heading(name).split("\n")), int(table[name].str.len().max())) + 3


def _heading(name: str) -> str:
    return name.replace("rank by ", "rank by\n").replace("@", "\n@")


def _rich(table: pd.DataFrame, title: str) -> Table:
    out = Table(title=title, title_justify="left")
    for name in table.columns:
        prose = name in ("model", "metric", "source and differences", "verdict")
        out.add_column(_heading(name), justify="left" if prose else "right", no_wrap=not prose, overflow="fold")
    for row in table.itertuples(index=False):
        out.add_row(*map(str, row))
    return out
