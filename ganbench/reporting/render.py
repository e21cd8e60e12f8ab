"""Leaderboard frame -> text in one of FORMATS, for a terminal, a page, a paper or a program."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganbench import cells
from ganbench.reporting.tables import tables


def render(frame: pd.DataFrame, form: str) -> str:
    """Return the leaderboards of a frame in one of FORMATS."""
    return FORMATS[form](frame)


def csv(frame: pd.DataFrame) -> str:
    """Return the frame itself, with all digits."""
    return frame.map(cells.csv).to_csv(index=False, lineterminator="\n")


def markdown(frame: pd.DataFrame) -> str:
    """Return pipe tables under headings, with a list of notes."""
    parts = []
    for title, wide, beside, notes in tables(frame):
        texts = [pipes(table) for table in (wide, beside) if len(table)]
        items = "\n".join(f"- {cells.item(note)}" for note in notes)
        parts.append("\n\n".join([f"## {cells.markdown(title)}", *texts, items]) + "\n\n")
    return "".join(parts)


def pipes(table: pd.DataFrame) -> str:
    """Return a markdown table."""
    escaped = _in_cells(table, cells.markdown)
    return escaped.to_markdown(index=False, disable_numparse=True)


def _in_cells(table: pd.DataFrame, form: Callable[[str], str]) -> pd.DataFrame:
    """Return a table of text whose cells and headings are written in another form."""
    return table.map(form).rename(columns=form)


def page(frame: pd.DataFrame) -> str:
    """Return HTML tables under headings, with a list of notes."""
    parts = []
    for title, wide, beside, notes in tables(frame):
        with pd.option_context("display.max_colwidth", None):
            texts = [
                _in_cells(table, cells.html).to_html(index=False, border=0, escape=False) + "\n"
                for table in (wide, beside)
                if len(table)
            ]
        items = "".join(f"<li>{cells.html(note)}</li>\n" for note in notes)
        parts.append(f"<h2>{cells.html(title)}</h2>\n{''.join(texts)}<ul>{items}</ul>\n")
    return "".join(parts)


def latex(frame: pd.DataFrame) -> str:
    """Return tables that need no package but booktabs, with notes as comments."""
    parts = []
    for title, wide, beside, notes in tables(frame):
        parts += [_latex(table, title) + "\n" for table in (wide, beside) if len(table)]
        parts += [f"% {cells.plain(note)}\n" for note in notes]
    return "".join(parts)


def _latex(table: pd.DataFrame, title: str) -> str:
    """Return a table that needs no package but booktabs."""
    styled = _in_cells(table, cells.latex).style.hide(axis="index")
    return styled.to_latex(hrules=True, caption=cells.latex(title))


def terminal(frame: pd.DataFrame, console: Console | None = None) -> str:
    """Return what a terminal shows, the metrics folded into several tables where it is too narrow for one."""
    console = console or Console()
    with console.capture() as text:
        for title, wide, beside, notes in tables(frame):
            wide, beside = (_in_cells(table, cells.plain) for table in (wide, beside))
            _print(cells.plain(title), wide, beside, map(cells.plain, notes), console)
    return text.get()


def _print(title: str, wide: pd.DataFrame, beside: pd.DataFrame, notes: Iterable[str], console: Console) -> None:
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
    return max(len(line) for text in (name, *table[name]) for line in _folded(text).split("\n")) + 3


def _folded(text: str) -> str:
    """Return a heading or a rank on lines that keep its column narrow."""
    return text.replace("rank by ", "rank by\n").replace("@", "\n@").replace(" (copies", "\n(copies")


def _rich(table: pd.DataFrame, title: str) -> Table:
    out = Table(title=Text(title, style="table.title"), title_justify="left")  # no text is read as markup
    for name in table.columns:
        prose = name in ("model", "metric", "source and differences", "verdict")
        out.add_column(
            Text(_folded(name)), justify="left" if prose else "right", no_wrap=not prose, overflow="fold"
        )
    for first, *others in table.itertuples(index=False):
        out.add_row(*map(Text, (_folded(first), *others)))
    return out


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "rich": terminal,
    "md": markdown,
    "csv": csv,
    "html": page,
    "latex": latex,
}
