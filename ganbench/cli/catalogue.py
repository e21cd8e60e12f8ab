"""What there is to choose from, one line per item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganbench import registry
from ganbench.suites.suite import read_suite, suite_names

if TYPE_CHECKING:
    from ganbench.game.model import Model
    from ganbench.metrics import Metric

KINDS = ("models", "datasets", "metrics", "extractors", "suites")


def lines(kind: str) -> list[str]:
    """Return one line per item of one of KINDS."""
    if kind == "suites":
        return [f"{name:<16} {read_suite(name).summary}" for name in suite_names()]
    if kind == "models":
        return [_model(registry.models.get(name)) for name in registry.models.names()]
    if kind == "metrics":
        return [_metric(registry.metrics.get(name)) for name in registry.metrics.names()]
    items = getattr(registry, kind)
    return [f"{name:<20} {items.get(name).summary}" for name in items.names()]


def _metric(metric: Metric) -> str:
    """Return name, with "@" if an extractor goes with it, direction, ability, unit and summary of a metric."""
    name = metric.name + ("" if metric.needs_extractor == "no" else "@")
    marks = f"{metric.better} is better, needs {metric.ability}" + (f", {metric.unit}" if metric.unit else "")
    return f"{name:<20} [{marks}] {metric.summary}"


def _model(model: Model) -> str:
    """Return name, abilities and summary of a model, and what makes it this variant."""
    variant = ", ".join(f"{path}={value}" for path, value in model.overrides.items() if isinstance(value, str))
    abilities = ", ".join(model.abilities)
    return f"{model.name:<29} [{abilities}] {model.summary}" + (f" ({variant})" if variant else "")
