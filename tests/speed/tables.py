"""A leaderboard from the score rows of 10,000 runs."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path

from .common import skipping

MODELS, SEEDS, METRICS = 200, 50, ("fid@x", "parzen")


@cache
def score_file() -> Path:
    """Write the made-up rows of 200 models with 50 seeds and two metrics, once per process."""
    from ganbench.record import ScoreRow, write_rows

    draw = random.Random(0)
    rows = [
        ScoreRow(
            suite="made-up",
            version=1,
            budget="standard",
            dataset="digits",
            model=f"model-{model}",
            role="model",
            league="unlabelled",
            config_hash=f"{model:08x}",
            seed=seed,
            metric=metric,
            better="lower",
            value=draw.gauss(model, 20),
            std_error=1.0,
            n=1000,
            protocol=f"{metric} v1",
            detail="",
            status="measured",
            reason="",
            provenance="",
        )
        for model in range(MODELS)
        for seed in range(SEEDS)
        for metric in METRICS
    ]
    path = Path(tempfile.mkdtemp()) / "scores.csv"
    write_rows(path, rows)
    return path


class Leaderboard:
    """From a score file to ranks with ties."""

    version = "1"

    def setup(self) -> None:
        with skipping():
            score_file()

    def time_leaderboard(self) -> None:
        from ganbench.leaderboard import aggregate, load_rows

        aggregate(load_rows([score_file()]))
