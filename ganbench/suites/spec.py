"""Run specifications: everything that decides the numbers of one run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ganbench.errors import UserError
from ganbench.records import Record, fingerprint, from_json, to_json

Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True)
class RunSpec(Record):
    """Everything that decides the numbers of one run."""

    suite: str
    version: int
    budget: str
    dataset: str
    model: str
    settings: dict[str, Any]
    seed: int
    rounds: int
    batch: int
    ema: float
    samples: int
    precision: Precision = "float32"
    snapshots: int = 0

    @property
    def config_hash(self) -> str:
        """Hash of the model's settings."""
        return fingerprint(self.settings, 8)

    @property
    def hash(self) -> str:
        """Hash of the whole specification."""
        return fingerprint(to_json(self))

    def folder(self, out: Path) -> Path:
        """Folder of the run: <out>/<suite>/<model>/<hash>."""
        return out / self.suite / self.model / self.hash


def write_spec(spec: RunSpec) -> str:
    """Return the text of spec.json."""
    return json.dumps(to_json(spec), indent=1, sort_keys=True) + "\n"


def read_spec(folder: Path) -> RunSpec:
    """Return the specification of a run folder; UserError if it is not one."""
    try:
        return from_json(RunSpec, json.loads((folder / "spec.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' is not a run folder: {error}") from None
