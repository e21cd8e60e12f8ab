"""The contract of a metric: a number or a reason, the same when asked again, and nothing of its inputs changed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ganbench import datasets
from ganbench.checks.case import tiny_data
from ganbench.checks.result import Fault, Result, change_random_state, random_state, run_check, run_stages
from ganbench.datasets import Dataset
from ganbench.distributions.noise import Noise, Normal
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.metrics import Metric, MetricInputs, Score
from ganbench.suites.spec import RunSpec

ITEMS = 240  # of each split and generated ones
KNOWN = ("digits", "moving-digits-4", "ring", "fgan-mixture-1d")  # data of every kind that need no files
EXTRACTORS = {"no": "", "features": "pixels", "logits": "mlp-digits-v1"}


def check_metric(metric: Metric) -> Iterator[Result]:
    """Yield the result of each check of a metric, on the first kind of data on which it gives a number.

    These are images of one channel and of three, sequences of frames, and vectors of a known distribution; the
    model is a made-up one with every ability.

    Args:
        metric: as registered; one on features is asked with the extractor `pixels`, or `mlp-digits-v1`.
    """
    yield (described := run_check(describes_itself, metric))
    if described.fault:
        return
    found: list[_Measured] = []
    yield (measured := run_check(gives_a_number, lambda: found.append(_first(metric))))
    if not measured.fault:
        yield from run_stages(STAGES, found[0])


def describes_itself(metric: Metric) -> None:
    """Every field must have a value of the contract."""
    if not metric.summary.strip():
        raise Fault("summary is empty; say in one line what is measured, with its source")
    if metric.better not in ("higher", "lower"):
        raise Fault(f"better must be higher or lower, got {metric.better!r}")
    if metric.needs_extractor not in EXTRACTORS:
        raise Fault(f"needs_extractor must be one of {', '.join(EXTRACTORS)}, got {metric.needs_extractor!r}")
    if not isinstance(metric.version, int) or metric.version < 1:
        raise Fault(f"version must be a whole number from 1 on, got {metric.version!r}")


class AllRound(Game):
    """Every ability, without training: what is generated is the noise itself."""

    supervision = "labelled"

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.squash: Callable[[Tensor], Tensor] = torch.tanh if data.bounded else lambda x: 0.9 * x

    def noise(self) -> dict[str, Noise]:
        return {"z": Normal(*self.data.shape)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.squash(noise["z"])

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.squash(codes).unflatten(1, self.data.shape)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.squash(x)

    def predict(self, x: Tensor) -> Tensor:
        return x[:, :-1]

    def classify(self, x: Tensor) -> Tensor:
        return torch.stack(
            [x.flatten(1).roll(k, 1)[:, : x[0].numel() // 2 + 1].mean(1) for k in range(self._k)], 1
        )

    def cluster(self, x: Tensor) -> Tensor:
        return self.classify(x).log_softmax(1)

    @property
    def _k(self) -> int:
        return max(2, self.data.classes)

    def condition(self, noise: Mapping[str, Tensor], y: Tensor) -> Tensor:
        return self.sample(noise)

    def extrapolate(self, noise: Mapping[str, Tensor], frames: int) -> Tensor:
        return self.sample(noise)[:, [t % self.data.frames for t in range(frames)]]

    def discriminate(self, x: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"critic": (x.flatten(1).mean(1) > 0).double()}


class Recorder:
    """Metric inputs that remember every tensor they hand out, and what it held."""

    def __init__(self, inputs: MetricInputs) -> None:
        self._inputs = inputs
        self.given: list[tuple[str, Tensor, Tensor]] = []  # (call, tensor, what it held)

    def __getattr__(self, name: str) -> Any:
        answer = getattr(self._inputs, name)
        if not inspect.ismethod(answer):
            return self._remember(name, answer)
        return lambda *given, **named: self._remember(name, answer(*given, **named))

    def _remember(self, name: str, answer: Any) -> Any:
        self.given += [(name, leaf, leaf.clone()) for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]
        return answer


@dataclass(frozen=True)
class _Measured:
    """A metric, the data on which it gives a number, what it gave, and what it was given."""

    metric: Metric
    real: RealData
    score: Score
    inputs: Recorder


def _compute(metric: Metric, real: RealData) -> tuple[Score, Recorder]:
    """Return the score of the made-up model, and what was asked for."""
    spec = RunSpec("check", 1, "check", real.data.name, "all-round", {}, {}, 0, 1, 1, 0.0, ITEMS)
    game = AllRound(real.data.data_spec).eval()
    inputs = Recorder(cast(MetricInputs, RunInputs(game, spec, real)))
    return metric.compute(cast(MetricInputs, inputs), EXTRACTORS[metric.needs_extractor]), inputs


def _first(metric: Metric) -> _Measured:
    """Return the metric's score on the first data that it takes; Fault with its reason if it takes none."""
    reasons = []
    for data in _candidates():
        real = RealData(data)
        try:
            score, inputs = _compute(metric, real)
        except UserError as error:
            reasons.append(str(error))
            continue
        if not isinstance(score, Score):
            raise Fault(f"compute gives {type(score).__name__}, expected a Score")
        if not isinstance(score.value, float):
            raise Fault(f"the value of the score is {type(score.value).__name__}, expected a float; take .item()")
        if math.isfinite(score.value):
            return _Measured(metric, real, score, inputs)
        if not score.detail:
            raise Fault(f"the value of the score is {score.value} without a reason in detail")
        reasons.append(score.detail)
    raise Fault(f"no number on images, sequences or vectors; on the first: {reasons[0]}")


def _candidates() -> Iterator[Dataset]:
    for name in KNOWN[:1]:
        yield _cut(datasets.load(name, download=False))
    yield tiny_data((3, 8, 8), ITEMS)
    for name in KNOWN[1:]:
        yield _cut(datasets.load(name, download=False))


def _cut(data: Dataset) -> Dataset:
    return replace(
        data,
        images={split: images[:ITEMS] for split, images in data.images.items()},
        labels={split: labels[:ITEMS] for split, labels in data.labels.items()},
    )


def gives_a_number(measure: Callable[[], None]) -> None:
    """Some kind of data must do, and the number must be finite or come with a reason."""
    measure()


def says_what_it_measured(measured: _Measured) -> None:
    """A number without its protocol, count and error means nothing."""
    score = measured.score
    if not score.protocol.strip():
        raise Fault("the protocol of the score is empty; say counts, splits and everything that fixes its meaning")
    if not isinstance(score.n, int) or score.n < 1:
        raise Fault(f"n of the score must be a number of items, got {score.n!r}")
    if not isinstance(score.std_error, float) or score.std_error < 0:
        raise Fault(f"std_error of the score must be a float >= 0, or NaN if unknown, got {score.std_error!r}")


def is_deterministic(measured: _Measured) -> None:
    """The same inputs must give the same score, whatever the global random state; which stays as it is."""
    change_random_state()
    state = random_state()
    again, _ = _compute(measured.metric, measured.real)  # its extractor is loaded already
    if random_state() != state:
        raise Fault("it draws from the global random state; take a generator of your own with a fixed seed")
    if repr(again) != repr(measured.score):
        raise Fault(
            f"asked again it gives {again.value!r} instead of {measured.score.value!r}, or another protocol"
        )


def leaves_its_inputs_alone(measured: _Measured) -> None:
    """Other metrics get the same tensors."""
    for name, now, before in measured.inputs.given:
        if not torch.allclose(now, before, rtol=0, atol=0, equal_nan=True):
            raise Fault(f"it changes the answer of {name} in place, which other metrics see too; work on a copy")


STAGES: Sequence[Sequence[Callable[[_Measured], None]]] = (
    (says_what_it_measured, leaves_its_inputs_alone),
    (is_deterministic,),
)
