"""What a user waits for before anything happens: imports, help, lists, datasets."""

from __future__ import annotations

import subprocess
import sys

from .common import names, ours, skipping


class Imports:
    """Imports in a fresh interpreter: the bare package, and all that training and measuring need."""

    version = "1"

    def timeraw_ganbench(self) -> str:
        return "import ganbench"

    def timeraw_training(self) -> str:
        return f"import {ours('train').__module__}, {ours('measure').__module__}"


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
            ours("load_dataset")(dataset, download=False)
