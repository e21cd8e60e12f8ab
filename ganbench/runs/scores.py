"""Score rows, one measured number each, and the files that hold them; needs no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from ganbench import cells
from ganbench.errors import UserError
from ganbench.records import Record, write_whole


@dataclass(frozen=True)
class ScoreRow(Record):
    """One measured number, as it stands in a score file; floats keep full precision."""

    suite: str
    version: int
    budget: str
    dataset: str
    model: str
    role: str
    supervision: str
    config_hash: str
    "of what identifies the run, see RunSpec.identity"
    code_hash: str
    "of the code that its numbers hang on, see ganbench.runs.code"
    seed: int
    metric: str
    better: str
    value: float
    std_error: float
    n: int
    protocol: str
    detail: str
    status: str
    "measured, unavailable (the game lacks the ability, or the extractor its weights), failed or diverged"
    reason: str
    seconds: float
    "of training; of seeds stepped together, the run's share; NaN if nobody noted them"
    steps: int
    "optimiser steps of all players, those of lookahead included"
    provenance: str


CELLS = {item.name: {"int": int, "float": float, "str": str}[str(item.type)] for item in fields(ScoreRow)}


def write_rows(path: Path, rows: Sequence[ScoreRow]) -> None:
    """Write a score file, each text on one line and none a formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(ScoreRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cells.csv(value) for name, value in asdict(row).items()} for row in rows)
    write_whole(path, text.getvalue())


def read_columns(path: Path) -> dict[str, list[Any]]:
    """Read a score file as columns; ValueError if its columns or values are not those of a score file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = [line for line in csv.reader(file) if line] or [[]]
        if odd := CELLS.keys() ^ set(header):
            raise ValueError(f"columns missing or unknown: {', '.join(sorted(odd))}")
        if any(len(row) != len(CELLS) for row in (header, *rows)):
            raise ValueError("a row has another number of cells than the header")
        texts = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
        return {name: _parse(name, texts.get(name, ())) for name in CELLS}
    except (ValueError, csv.Error) as error:
        raise ValueError(f"'{path}' is not a score file: {error}") from None


def _parse(name: str, texts: Sequence[str]) -> list[Any]:
    try:
        return list(map(CELLS[name], texts))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def read_rows(path: Path) -> list[ScoreRow]:
    """Read a score file as rows; ValueError if its columns or values are not those of a score file."""
    return [ScoreRow(*cells) for cells in zip(*read_columns(path).values(), strict=True)]


def rows_by_metric(path: Path) -> dict[str, ScoreRow]:
    """Return metric -> row of a run's score file, none if it is absent; UserError if it is damaged."""
    try:
        return {row.metric: row for row in read_rows(path)} if path.exists() else {}
    except ValueError as error:
        raise UserError(f"{error}; delete it to measure anew") from None


def merge_rows(path: Path, rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Put rows into a run's score file, each in the place of the one of its metric, and return all of the file.

    Of several processes one does so at a time. UserError if the file is damaged.
    """
    with FileLock(path.with_name(".scores.lock")):
        merged = rows_by_metric(path) | {row.metric: row for row in rows}
        write_rows(path, list(merged.values()))
    return list(merged.values())
