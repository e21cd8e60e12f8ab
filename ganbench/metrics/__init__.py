"""Metrics: pure functions of float64 tensors, each wrapped in a named and versioned protocol.

Every module holds the mathematics (tensors in, number out) and, below it, the protocols that feed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from ganbench import registry
from ganbench.distributions.known import KnownDistribution
from ganbench.distributions.moving import Moving

Split = Literal["train", "validation", "test"]


class Features(NamedTuple):
    """What an extractor makes of n images."""

    features: Tensor  # (n, d) float64
    logits: Tensor | None  # (n, classes) float64; None if the extractor does not classify


class MetricInputs(Protocol):
    """What a protocol may ask about one finished run; every answer is computed once and kept."""

    samples: int
    "number of generated images that the suite asks for"

    def real(self, split: Split, n: int | None = None) -> Tensor:
        """Return the first n images of a split, (n, channels, height, width) float32 in [0, 1], or vectors.

        Of sequences, (n, frames, channels, height, width), these are the first 1,000 at most, here and below.
        """

    def fake(self, n: int | None = None) -> Tensor:
        """Return the first n generated images (default: `samples`), clamped to [0, 1], or vectors; float32."""

    def features(self, source: Split | Literal["fake"], extractor: str, n: int | None = None) -> Features:
        """Return what the extractor makes of the first n real or generated images."""

    def channel_logits(self, extractor: str, n: int) -> Tensor:
        """Return what the extractor says of each channel, as a grey image, of the first n generated images.

        Shape (n, channels, classes), float64. UserError if the extractor has no logits.
        """

    def extractor_id(self, extractor: str) -> str:
        """Return the extractor's name and weight hash, e.g. "lenet-mnist-v1@sha256:0a1b2c3d"."""

    def reconstructions(self, split: Split) -> Tensor:
        """Return the run's reconstruction of every image of a split, same shape and scale as `real`."""

    @property
    def distribution(self) -> KnownDistribution:
        """The law behind the data; UserError if nobody knows it."""

    def labels(self, split: Split) -> Tensor:
        """Return the classes of a split, int64 (n,); UserError if it has none."""

    @property
    def view(self) -> Moving | None:
        """How the digits of the data move, None if they do not or nobody knows it."""

    def extracted(self, images: Tensor, extractor: str) -> Features:
        """Return what the extractor makes of any images in [0, 1]."""

    def predictions(self, split: Split) -> Tensor:
        """Return the run's prediction of all frames but the first, each from those before it, scaled as `real`."""

    def extrapolations(self, n: int, frames: int) -> Tensor:
        """Return n <= 1000 generated sequences of some length, (n, frames, channels, height, width) in [0, 1]."""

    def class_logits(self, split: Split) -> Tensor:
        """Return what the run's classifier says of every image of a split, (n, classes)."""

    def cluster_logits(self, split: Split) -> Tensor:
        """Return the log-probabilities of the run's clusters for every image of a split, (n, K) float64."""

    def codes(self, split: Split) -> Tensor:
        """Return the run's codes of every image of a split, (n, d) float64."""

    def cycle(self) -> tuple[Tensor, Tensor]:
        """Return the codes of the first `samples` generated images, and these decoded and encoded again.

        Both (n, d) float64.
        """

    @property
    def critic_noise(self) -> float:
        """Level of the noise on all that the run's critics see, 0 if the model has no such setting."""

    def verdicts(self, split: Split) -> dict[str, Tensor]:
        """Return critic -> (n,) float64: share of its verdicts on a real and a generated item that are right."""

    def conditioned(self, extractor: str) -> tuple[Features, Tensor]:
        """Return what the extractor makes of images generated for given classes, and these, int64 (n,).

        The classes come in turn and equally often; n is the largest number up to `samples` that allows it.
        """

    def push_forward(self, cells: int) -> tuple[Tensor, Tensor]:
        """Return the law of a generator from one random number to one, on a fine grid of its input.

        The values (cells + 1,) at the edges of the cells, and the exact probability of each cell, (cells,), both
        float64. UserError if the game has other noise or other data.
        """


@dataclass(frozen=True)
class Score:
    """One measured number.

    Args:
        value: full-precision value; NaN only together with a reason in `detail`.
        std_error: standard error from resampling within this run (over test images, say); NaN if unknown.
        n: number of items that the value averages over.
        protocol: everything that fixes the meaning of the number except what was chosen from the data:
            counts, splits, k, rules, extractor and weight hash, dtype. Equal text = comparable numbers.
        detail: what was chosen from the data, e.g. the bandwidth.
    """

    value: float
    std_error: float
    n: int
    protocol: str
    detail: str = ""


@dataclass(frozen=True)
class Metric:
    """A named, versioned protocol.

    Args:
        name: unique; as typed in suites and `--metric`. Metrics on features are asked for as `name@extractor`.
        version: raised whenever the same input gives another number.
        summary: one line for `ganbench list metrics`, with unit and source.
        ability: method that a game must have, e.g. "sample" or "reconstruct".
        better: which direction is good.
        needs_extractor: "no", "features" or "logits".
        unit: "nats", "" and so on.
        compute: (evidence, extractor name or "") -> score.
    """

    name: str
    version: int
    summary: str
    ability: str
    better: Literal["higher", "lower"]
    needs_extractor: Literal["no", "features", "logits"]
    unit: str
    compute: Callable[[MetricInputs, str], Score]


def register(metric: Metric) -> Metric:
    """Make a metric known under its name."""
    return registry.metrics.add(metric.name, metric)
