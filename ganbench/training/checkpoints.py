"""What an interrupted training leaves behind, and how it is taken up again."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.records import fingerprint, write_whole
from ganbench.runs.code import code_of
from ganbench.suites.spec import RunSpec
from ganbench.training.stack import Stack


def regroup(specs: list[RunSpec], data: Dataset, out: Path) -> list[list[RunSpec]]:
    """Put seeds that share a checkpoint together, so that they go on as they began; the rest are one group.

    A checkpoint of other code or data is deleted: what it began is another run now.
    """
    left = {spec.hash: spec for spec in specs}
    groups = []
    for path in sorted(place(specs, data, out).parent.glob("checkpoint-*.json")):
        try:
            group = [left[name] for name in json.loads(path.read_text(encoding="utf-8"))]
        except (ValueError, TypeError, KeyError):  # damaged, or of seeds that are not all asked for now
            continue
        checkpoint = place(group, data, out) if group else path
        if path.stem != checkpoint.stem:
            path.unlink()
            path.with_suffix(".pt").unlink(missing_ok=True)
            continue
        groups.append(group)
        left = {name: spec for name, spec in left.items() if spec not in group}
    return groups + ([list(left.values())] if left else [])


def place(specs: Sequence[RunSpec], data: Dataset, out: Path) -> Path:
    """Return the path of the checkpoint of seeds that are stepped together, by code and data as well."""
    name = fingerprint([*(spec.hash for spec in specs), code_of(specs[0]), data.sha256])
    return out / specs[0].suite / specs[0].model / f"checkpoint-{name}.pt"


def save(stack: Stack, log: list[Any], seconds: float, path: Path) -> None:
    """Write the state of a training, its log and the seconds so far."""
    buffer = io.BytesIO()
    torch.save({"stack": stack.saved(), "log": log, "seconds": seconds}, buffer)
    write_whole(path, buffer.getvalue())


def resume(stack: Stack, path: Path) -> tuple[list[Any], float]:
    """Restore the stack from its checkpoint, if there is one, and return the log and the seconds so far."""
    if not path.exists():
        return [], 0.0
    try:
        saved = torch.load(path, map_location=stack.device, weights_only=True)
        stack.restore(saved["stack"])
        return saved["log"], saved["seconds"]
    except Exception as error:
        raise UserError(
            f"checkpoint '{path}' is damaged ({type(error).__name__}); delete it to train this model anew"
        ) from error
