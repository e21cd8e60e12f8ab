"""Run folders of several machines in one."""

from __future__ import annotations

import filecmp
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from ganbench.errors import UserError
from ganbench.records import check_writable


def merge(sources: Sequence[Path], out: Path) -> tuple[int, int]:
    """Copy finished runs to one folder, each whole or not at all; nothing is ever overwritten.

    Args:
        sources: folders of runs, as `ganbench run --out` fills them.
        out: folder of all runs.

    Returns:
        Number of runs copied, and of those left out because an identical one was there.

    Raises:
        UserError: two folders of one run differ, or a source has no finished run, before anything is copied.
    """
    check_writable(out)
    chosen: dict[Path, Path] = {}
    same = 0
    for source in sources:
        runs = sorted(status.parent for status in source.glob("*/*/*/status.json"))
        if not runs:
            raise UserError(f"no finished run in {source}; give folders that ganbench run filled")
        for run in runs:
            target = out / run.relative_to(source)
            twin = target if target.exists() else chosen.setdefault(target, run)
            if twin is run:
                continue
            if odd := _differences(run, twin):
                raise UserError(f"'{run}' and '{twin}' are the same run, but differ in {', '.join(odd)}; keep one")
            same += 1
    for target, run in chosen.items():
        copy_whole(run, target)
    return len(chosen), same


def copy_whole(run: Path, target: Path) -> None:
    """Copy a run folder that is there entirely or not at all, whenever this process dies."""
    temporary = target.parents[2] / f".{target.name}.{uuid.uuid4().hex[:8]}.part"  # where no table looks for rows
    try:
        shutil.copytree(run, temporary, ignore=shutil.ignore_patterns(".*"))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files(folder: Path) -> set[str]:
    """Return the names of all files under a folder, but for those half written."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not path.name.startswith(".")}


def _differences(one: Path, other: Path) -> list[str]:
    """Return the names of the files that only one folder has, or that differ in their bytes."""
    names = _files(one), _files(other)
    return sorted(names[0] ^ names[1]) + sorted(
        name for name in names[0] & names[1] if not filecmp.cmp(one / name, other / name, shallow=False)
    )
