"""Frozen records, their JSON form and stable hash; seed streams; files that appear whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ganbench.registry import UserError

R = TypeVar("R")
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Keep = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Record:
    """Base of all frozen settings: unknown fields and wrong types are errors when one is read from JSON."""

    __pydantic_config__ = ConfigDict(extra="forbid")


_adapters: dict[Any, TypeAdapter[Any]] = {}  # building one is slow


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_json(record: Any) -> Any:
    """Return the record as plain JSON values (dict, list, str, number, bool, None)."""
    return _adapter(type(record)).dump_python(record, mode="json")


def from_json(kind: type[R], values: Any) -> R:
    """Return the record of type `kind` that the plain values describe; ValueError names the bad field."""
    try:
        return _adapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}, got {first['input']!r}") from None


@dataclass(frozen=True)
class ScoreRow(Record):
    """One measured number, as it stands in a score file; floats keep full precision."""

    suite: str
    version: int
    budget: str
    dataset: str
    model: str
    role: str
    league: str
    config_hash: str
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
    provenance: str


CELLS = {item.name: {"int": int, "float": float, "str": str}[str(item.type)] for item in fields(ScoreRow)}


def write_rows(path: Path, rows: Sequence[ScoreRow]) -> None:
    """Write a score file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [item.name for item in fields(ScoreRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
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


def fingerprint(values: Any, digits: int = 12) -> str:
    """Return a hash of plain JSON values that is the same on every machine and in every session."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def seed_stream(*axes: str | int) -> int:
    """Return the 63-bit seed of the random stream that the axes name, e.g. (dataset, model, seed, purpose).

    Streams are hashes of names, so a new model, seed or purpose never shifts the numbers of another.
    """
    return int(fingerprint(list(axes), digits=16), 16) >> 1


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name and rename it: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make a folder; UserError if no file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written ({error.strerror}); give another folder") from None
