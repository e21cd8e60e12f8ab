"""What many tests need made: score rows that nobody measured."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def forgotten() -> Iterator[None]:
    """Forget what is registered meanwhile, plug-in files included."""
    from ganbench import registry

    kinds = (registry.models, registry.datasets, registry.metrics, registry.extractors)
    for kind in kinds:
        kind.load()
    before = [dict(kind._items) for kind in kinds]
    yield
    for kind, items in zip(kinds, before, strict=True):
        kind._items = items
    for name in [name for name in sys.modules if name.startswith(registry.PLUGIN)]:
        del sys.modules[name]


def rows(*counts: int, **options: Any) -> list[Any]:
    """Return the `ScoreRow`s of `cells`."""
    from ganbench.runs.scores import ScoreRow  # here, because benchmarks run on commits that have it elsewhere

    return [ScoreRow(**row) for row in cells(*counts, **options)]


def cells(
    models: int, seeds: int, metrics: int, suites: int = 1, lost: float = 0.0, random_seed: int = 0
) -> list[dict[str, Any]]:
    """Return suites x models x seeds x metrics rows; models differ in their mean, seeds scatter around it.

    Args:
        models: number of models of a suite.
        seeds: number of runs of a model.
        metrics: number of rows of a run.
        suites: number of suites.
        lost: share of the runs that diverge.
        random_seed: same seed, same rows.
    """
    draw = random.Random(random_seed)
    made = []
    for suite in range(suites):
        for model in range(models):
            level, scatter = draw.gauss(10, 2), draw.uniform(0.1, 1)
            for seed in range(seeds):
                diverged = draw.random() < lost
                for metric in range(metrics):
                    made.append(
                        dict(
                            suite=f"suite-{suite}",
                            version=1,
                            budget="standard",
                            dataset="mnist",
                            model=f"model-{model:05d}",
                            role="model",
                            supervision="unlabelled",
                            config_hash=f"{model:08x}",
                            code_hash="",
                            seed=seed,
                            metric=f"metric-{metric}@lenet-mnist-v1",
                            better="higher" if metric % 2 else "lower",
                            value=math.nan if diverged else draw.gauss(level, scatter),
                            std_error=math.nan if diverged else 0.1 * scatter,
                            n=0 if diverged else 10_000,
                            protocol=f"metric-{metric} v1"
                            + (
                                "" if diverged else "; weights of the last round; test split against 10,000 images"
                            ),
                            detail="",
                            status="diverged" if diverged else "measured",
                            reason="NaN or infinite loss or weights at round 7" if diverged else "",
                            seconds=1.5,
                            steps=2000,
                            provenance="ganbench 0.1.0; made up for a test; x86_64 Linux",
                        )
                    )
    return made
