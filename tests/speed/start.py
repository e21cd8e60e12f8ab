"""What a user waits for before anything happens: imports, help, lists, datasets."""

from __future__ import annotations

import subprocess
import sys

from .common import names, skipping


def timeraw_import() -> str:
    """Time `import ganbench` in a fresh interpreter."""
    return "import ganbench"


timeraw_import.version = "1"  # type: ignore[attr-defined]


class CommandLine:
    """From the shell to the last line of the answer."""

    version = "1"
    params = (["--help", "list"],)
    param_names = ("arguments",)

    def time_answer(self, arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "ganbench.cli", arguments], check=True, capture_output=True)


class Datasets:
    """Files to tensors; skipped where the files are absent."""

    version = "1"
    params = (names()["datasets"],)
    param_names = ("dataset",)

    def setup(self, dataset: str) -> None:
        self.time_load(dataset)

    def time_load(self, dataset: str) -> None:
        with skipping():
            from ganbench import datasets

            datasets.load(dataset, download=False)
