"""Frozen records, their JSON form and stable hash; seed streams; files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import uuid
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ganbench.errors import UserError

R = TypeVar("R")
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Search:
    """What tuning may try of a number: [low, high], evenly in its logarithm. Part of a field's annotation."""

    low: float
    high: float


@dataclass(frozen=True)
class Choices:
    """What tuning may try of a field, one by one. Part of its annotation."""

    values: tuple[Any, ...]


Rate = Annotated[Positive, Search(1e-5, 1e-2)]
Penalty = Annotated[NonNegative, Search(1e-2, 1e2)]
Betas = Annotated[tuple[Fraction, Fraction], Choices(((0.0, 0.9), (0.5, 0.9), (0.5, 0.999), (0.9, 0.999)))]


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


def changed(record: Any) -> Any:
    """Return as plain values what of a record differs from the defaults of its type, and each record's `kind`.

    A field that is added with a neutral default changes nothing here.
    """
    if not isinstance(record, Record):
        return to_json(record) if not isinstance(record, tuple) else [changed(part) for part in record]
    out = {}
    for field in fields(record):
        value = getattr(record, field.name)
        default = field.default if field.default is not MISSING else MISSING
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if field.name == "kind" or type(value) is not type(default) or value != default:
            out[field.name] = changed(value)
    return out


def from_json(kind: type[R], values: Any) -> R:
    """Return the record of type `kind` that the plain values describe; ValueError names the bad field."""
    try:
        return _adapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}, got {first['input']!r}") from None


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


def check_writable(folder: Path, option: str = "--out") -> None:
    """Make the folder that an option names; UserError if no file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {folder} cannot be written ({error.strerror}); give another folder") from None
