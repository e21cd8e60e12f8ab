"""Mode coverage on stacked MNIST: which of the 1000 triples of digits a classifier sees, and how evenly."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.modes import divergence

MODES = 1000
HITS = 5
"as many hits as hardly come from a misread digit alone"


def histogram(logits: Tensor) -> Tensor:
    """Return how many images fall on each of the modes 100a + 10b + c, int64 (1000,).

    Args:
        logits: (n, 3, 10), what a classifier of digits says of each channel.
    """
    if logits.ndim != 3 or logits.shape[1:] != (3, 10):
        raise UserError(
            f"stacked digits need 3 channels and 10 classes, got {tuple(logits.shape[1:])};"
            " use dataset stacked-mnist and extractor lenet-mnist-v1"
        )
    digits = logits.argmax(dim=2)
    return (100 * digits[:, 0] + 10 * digits[:, 1] + digits[:, 2]).bincount(minlength=MODES)


def _measure(inputs: MetricInputs, extractor: str, samples: int, kind: str) -> Score:
    counts = histogram(inputs.channel_logits(extractor, samples))
    detail = f"{int((counts >= HITS).sum())} modes with at least {HITS} hits"
    uniform = torch.full_like(counts, 1 / MODES, dtype=torch.float64)
    value = divergence(counts, uniform) if kind == "kl" else float((counts > 0).sum())
    protocol = (
        f"first {samples} generated images, all counted; mode 100a+10b+c from the digit in each channel;"
        f" {inputs.extractor_id(extractor)}; float64"
    )
    return Score(value, math.nan, samples, protocol, detail)


for _end, _samples, _source in (
    ("", 26_000, "Srivastava et al. 2017"),
    ("-metz", 25_600, "Metz et al. 2017"),
):
    register(
        Metric(
            f"stacked-modes{_end}",
            1,
            f"triples of digits seen in {_samples:,} images, of 1000; {_source}",
            "sample",
            "higher",
            "logits",
            "",
            partial(_measure, samples=_samples, kind="modes"),
        )
    )
    register(
        Metric(
            f"stacked-kl{_end}",
            1,
            f"KL(triples seen in {_samples:,} images || uniform), nats; {_source}",
            "sample",
            "lower",
            "logits",
            "nats",
            partial(_measure, samples=_samples, kind="kl"),
        )
    )
