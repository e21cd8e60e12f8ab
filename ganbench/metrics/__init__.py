"""Metrics: pure functions of float64 tensors, each wrapped in a named and versioned protocol.

Every module holds the mathematics (tensors in, number out) and, below it, the protocols that feed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from torch import Tensor

from ganbench import registry
from ganbench.distributions.known import KnownDistribution
from ganbench.distributions.moving import Moving
from ganbench.game.contract import Game

Answer = TypeVar("Answer", bound=Callable[..., Any])
Split = Literal["train", "validation", "test"]


class Features(NamedTuple):
    """What an extractor makes of n images."""

    features: Tensor  # (n, d) float64
    logits: Tensor | None  # (n, classes) float64; None if the extractor does not classify


class MetricInputs(Protocol):
    """What a protocol may ask about one finished run: its data, its game, and what extractors make of both.

    A metric that needs more of the game than `fake` asks for it by `call` and `make`, in its own file.
    """

    samples: int
    "number of generated images that the suite asks for"
    game: Game
    "the trained game, in eval mode"

    def real(self, split: Split, n: int | None = None) -> Tensor:
        """Return the first n images of a split, (n, channels, height, width) float32 in [0, 1], or vectors.

        Of sequences, (n, frames, channels, height, width), these are the first 1,000 at most, here and below.
        """

    def labels(self, split: Split) -> Tensor:
        """Return the classes of a split, int64 (n,); UserError if it has none."""

    @property
    def distribution(self) -> KnownDistribution:
        """The distribution of the data; UserError if nobody knows it."""

    @property
    def view(self) -> Moving | None:
        """How the digits of the data move, None if they do not or nobody knows it."""

    def fake(self, n: int | None = None) -> Tensor:
        """Return the first n generated images (default: `samples`), clamped to [0, 1], or vectors; float32."""

    def make(self, ability: str, n: int, *arguments: object, frames: int = 0) -> Tensor:
        """Return the first n items that an ability makes of noise, scaled as `fake`; drawn anew at every call.

        Args:
            ability: method of the game, which takes noise and the arguments.
            n: number of items.
            arguments: tensors with one row per item, or values that are the same for all.
            frames: of each item, if they are more than those of the data.
        """

    def call(self, ability: str, source: Split | Literal["fake"] | Tensor, noise: str = "") -> Any:
        """Return what an ability says of items, as the game gives it: a tensor or name -> tensor, rows in order.

        A conditional game gets the labels of a split as well, if its method names `y`.

        Args:
            ability: method of the game, which takes items in the game's scale.
            source: a split or "fake", `samples` of these, kept for the next who asks; or items in that scale.
            noise: purpose, which names the seed stream of the noise that is drawn for the ability's second
                argument, all that training draws; "" draws none.
        """

    def to_pixels(self, x: Tensor) -> Tensor:
        """Return what a game gives as images, clamped to [0, 1], or vectors; float32; UserError if not finite."""

    def from_pixels(self, images: Tensor) -> Tensor:
        """Return images in [0, 1], or vectors, as a game takes them."""

    def features(self, source: Split | Literal["fake"], extractor: str, n: int | None = None) -> Features:
        """Return what the extractor makes of the first n real or generated images, computed once and kept."""

    def extract(self, images: Tensor, extractor: str) -> Features:
        """Return what the extractor makes of any images in [0, 1]."""

    def extractor_id(self, extractor: str) -> str:
        """Return the extractor's name and weight hash, e.g. "lenet-mnist-v1@sha256:0a1b2c3d"."""


def once_per_run(function: Answer) -> Answer:
    """Keep what a function of a run's inputs and further arguments returns, for metrics that share its cost."""
    known: WeakKeyDictionary[MetricInputs, dict[tuple[object, ...], Any]] = WeakKeyDictionary()

    @wraps(function)
    def kept(inputs: MetricInputs, *arguments: object) -> Any:
        answers = known.setdefault(inputs, {})
        if arguments not in answers:
            answers[arguments] = function(inputs, *arguments)
        return answers[arguments]

    return cast(Answer, kept)


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


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A named, versioned protocol.

    Args:
        name: unique; as typed in suites and `--metric`. Metrics on features are asked for as `name@extractor`.
        version: raised whenever the same input gives another number.
        summary: one line for `ganbench list metrics`, with unit and source.
        ability: method that a game must have, e.g. "sample" or "reconstruct".
        better: which direction is good.
        compute: (inputs, extractor name or "") -> score.
        needs_extractor: "no", "features" or "logits".
        unit: "nats", "" and so on.
    """

    name: str
    version: int
    summary: str
    ability: str
    better: Literal["higher", "lower"]
    compute: Callable[[MetricInputs, str], Score]
    needs_extractor: Literal["no", "features", "logits"] = "no"
    unit: str = ""


def register(metric: Metric) -> Metric:
    """Make a metric known under its name."""
    return registry.metrics.add(metric.name, metric)
