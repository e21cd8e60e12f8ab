"""Scores of short trainings beside the speeds, so that a speed-up that changes them is seen.

asv takes a larger number for a worse one, whatever is tracked, and compares ratios: a value must be positive and
grow as the model gets worse. So a metric of which more is better is tracked as its distance from what the training
images themselves reach. The numbers are the same again on the same machine and library versions.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from .common import ours, skipping

CEILING = "real-train"


@cache
def mean_score(model: str, metric: str) -> float:
    """Return the mean over two seeds of a model after 300 rounds on digits; an error if one is not measured."""
    with skipping():
        torch.set_num_threads(1)
        data = ours("load_dataset")("digits")
        budget = ours("Budget")(rounds=300, seeds=2, samples=2000)
        specs = ours("expand")(replace(ours("read_suite")("digits"), budgets={"speed": budget}), "speed", [model])[
            model
        ]
        train, measure, real = ours("train"), ours("measure"), ours("RealData")(data)
    with tempfile.TemporaryDirectory() as folder:
        train(specs, data, Path(folder))
        rows = [measure(spec, spec.folder(Path(folder)), real, [metric])[0] for spec in specs]
    for row in rows:
        if row.status != "measured":  # NaN would look like a skipped benchmark
            raise RuntimeError(f"{model}, seed {row.seed}: {row.status}: {row.reason}")
    return sum(row.value for row in rows) / len(rows)


class Digits:
    """Fréchet distance, and nats that the Parzen log-likelihood lies below that of the training images."""

    version = "1"
    params = (["gan", "vae"],)
    param_names = ("model",)

    def setup(self, model: str) -> None:
        with skipping():
            ours("train")

    def track_fid(self, model: str) -> float:
        return mean_score(model, "fid@mlp-digits-v1")

    def track_parzen_gap(self, model: str) -> float:
        return mean_score(CEILING, "parzen-goodfellow") - mean_score(model, "parzen-goodfellow")


Digits.track_fid.unit = "FID"  # type: ignore[attr-defined]
Digits.track_parzen_gap.unit = "nats"  # type: ignore[attr-defined]
