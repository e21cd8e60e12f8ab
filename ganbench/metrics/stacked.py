"""Mode coverage on stacked MNIST: which of the 1000 triples of digits a classifier sees, and how evenly."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, once_per_run, register
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


@once_per_run
def channel_logits(inputs: MetricInputs, extractor: str, n: int) -> Tensor:
    """Return what the extractor says of each channel, as a grey image, of the first n generated images.

    Shape (n, channels, classes), float64. UserError if the extractor has no logits.
    """
    images = inputs.fake(n)
    logits = inputs.extract(images.flatten(0, 1)[:, None], extractor).logits
    if logits is None:
        raise UserError(f"extractor {extractor} has no logits; take a classifier, e.g. lenet-mnist-v1")
    return logits.unflatten(0, (n, -1))


def _measure(inputs: MetricInputs, extractor: str, samples: int, kind: str) -> Score:
    counts = histogram(channel_logits(inputs, extractor, samples))
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
            name=f"stacked-modes{_end}",
            version=1,
            summary=f"triples of digits seen in {_samples:,} images, of 1000; {_source}",
            ability="sample",
            better="higher",
            needs_extractor="logits",
            compute=partial(_measure, samples=_samples, kind="modes"),
        )
    )
    register(
        Metric(
            name=f"stacked-kl{_end}",
            version=1,
            summary=f"KL(triples seen in {_samples:,} images || uniform), nats; {_source}",
            ability="sample",
            better="lower",
            needs_extractor="logits",
            unit="nats",
            compute=partial(_measure, samples=_samples, kind="kl"),
        )
    )
