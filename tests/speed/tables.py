"""A leaderboard from the score rows of 10,000 runs."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path

from .common import skipping


@cache
def score_file() -> Path:
    """Write the made-up rows of 200 models with 50 seeds and two metrics, once per process."""
    sys.path.append(str(Path(__file__).parents[1]))  # asv knows the folder of the benchmarks only
    from builders import rows

    from ganbench.runs.scores import write_rows

    path = Path(tempfile.mkdtemp()) / "scores.csv"
    write_rows(path, rows(200, 50, 2))
    return path


class Leaderboard:
    """From a score file to ranks with ties."""

    version = "1"

    def setup(self) -> None:
        with skipping():
            score_file()

    def time_leaderboard(self) -> None:
        from ganbench.reporting.leaderboard import aggregate, load_rows

        aggregate(load_rows([score_file()]))
