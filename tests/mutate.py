"""Breaks the code in one place at a time and reports the faults that no test notices: `python -m tests.mutate`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Mutation(NamedTuple):
    """A fault: in a file, the text that stands there once and what takes its place; and the tests that see it."""

    file: str
    breaks: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """Return the file's text with the fault; ValueError if the old text does not occur exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} holds this text {text.count(self.old)} times, not once: {self.old}")
        return text.replace(self.old, self.new)


def mutations() -> list[Mutation]:
    """Return all mutations in the order of mutations.toml, which numbers them from 1."""
    groups = tomllib.loads((ROOT / "tests" / "mutations.toml").read_text(encoding="utf-8"))
    return [
        Mutation(file, *row, tuple(group["tests"])) for file, group in groups.items() for row in group["mutations"]
    ]


def verdict(tree: Path, tests: Iterable[str]) -> str:
    """Return what tests say of a tree: "killed" if one fails, "survived" if none does, else "broken"."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # Without bytecode, for a file changed twice in a second would pass for its own old code.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    code = subprocess.run(command, cwd=tree, env=environment, capture_output=True).returncode
    return {0: "survived", 1: "killed"}.get(code, "broken")


def main() -> int:
    """Try all mutations, or some; return 0 if all are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="numbers of mutations")
    only = parser.parse_args().only
    chosen = [(n, mutation) for n, mutation in enumerate(mutations(), 1) if not only or n in only]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for part in ("baselines", "ganbench", "tests"):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        found, passed = {}, set()
        for n, mutation in chosen:
            if mutation.tests not in passed and verdict(tree, mutation.tests) != "survived":
                raise SystemExit(f"without any mutation these fail, repair that first: {' '.join(mutation.tests)}")
            passed.add(mutation.tests)
            path = tree / mutation.file
            text = path.read_text(encoding="utf-8")
            path.write_text(mutation.apply(text), encoding="utf-8")
            found[n] = verdict(tree, mutation.tests)
            path.write_text(text, encoding="utf-8")
            print(f"{n:3} {found[n]:8} {mutation.file}: {mutation.breaks}", flush=True)
    killed = sum(value == "killed" for value in found.values())
    print(f"{killed} of {len(found)} mutations killed")
    return int(killed < len(found))


if __name__ == "__main__":
    sys.exit(main())
