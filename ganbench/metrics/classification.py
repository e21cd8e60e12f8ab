"""Errors of a run's classifier and of its critics, and whether images made for a class are of that class."""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.checks import matrix


def hits(logits: Tensor, classes: Tensor) -> Tensor:
    """Return 1 where the largest logit is that of the class and 0 elsewhere, (n,) float64.

    Args:
        logits: (n, number of classes), finite; of equal logits the first counts as the largest.
        classes: int64 (n,), each below the number of classes.

    Raises:
        UserError: shapes that differ, an unknown class, NaN or infinity.
    """
    logits = matrix("logits", logits)
    if classes.shape != logits.shape[:1]:
        raise UserError(f"expected one class for each of {len(logits)} rows of logits, got {tuple(classes.shape)}")
    low, high = (int(bound) for bound in classes.aminmax())
    if low < 0 or high >= logits.shape[1]:
        raise UserError(f"expected classes from 0 to {logits.shape[1] - 1}, got {low} to {high}")
    return (logits.argmax(dim=1) == classes).to(torch.float64)


def _classification_error(inputs: MetricInputs, extractor: str) -> Score:
    right = hits(inputs.call("classify", "test").double(), inputs.labels("test"))
    return average(1 - right, f"share of {len(right)} test images; the run's own classifier")


def _condition_accuracy(inputs: MetricInputs, extractor: str) -> Score:
    if inputs.game.supervision == "unlabelled":
        raise UserError("the classes of a game that sees no labels are clusters, which no label names")
    count = inputs.game.data.classes
    n = inputs.samples - inputs.samples % count
    if not n:
        raise UserError(f"expected at least {count} samples, one of each class, got {inputs.samples}")
    classes = torch.arange(n) % count  # in turn and equally often
    logits = inputs.extract(inputs.make("condition", n, classes), extractor).logits
    if logits is None:
        raise UserError(
            f"extractor '{extractor}' gives no class logits, which condition-accuracy needs; use a classifier"
        )
    if logits.shape[1] != count:
        raise UserError(
            f"extractor '{extractor}' knows {logits.shape[1]} classes, the data have {count};"
            " use a classifier of these data"
        )
    protocol = (
        f"share of {len(classes)} generated images, {len(classes) // count} of each of {count} classes;"
        f" {inputs.extractor_id(extractor)}"
    )
    return average(hits(logits, classes.to(logits.device)), protocol)


register(
    Metric(
        name="classification-error",
        version=1,
        summary="share of test images that the model's classifier gets wrong; Salimans et al. 2016",
        ability="classify",
        better="lower",
        compute=_classification_error,
    )
)
register(
    Metric(
        name="condition-accuracy",
        version=1,
        summary="share of generated images that a classifier puts into the class asked for",
        ability="condition",
        better="higher",
        needs_extractor="logits",
        compute=_condition_accuracy,
    )
)


def _critic_accuracy(inputs: MetricInputs, extractor: str) -> Score:
    verdicts = inputs.call("discriminate", "test", noise="judge")
    mean = torch.stack(list(verdicts.values())).mean(0)
    each = ", ".join(f"{critic} {float(right.mean()):.3f}" for critic, right in verdicts.items())
    level = getattr(inputs.game.config, "critic_noise", 0.0)
    protocol = (
        f"{len(mean)} test and as many generated items; mean over critics; noise of {level:g} on what they see"
    )
    return average(mean, protocol, each)


register(
    Metric(
        name="critic-accuracy",
        version=1,
        summary="share of right verdicts of a graph's critics, each in `detail`: to watch training, no quality",
        ability="discriminate",
        better="lower",
        compute=_critic_accuracy,
    )
)
