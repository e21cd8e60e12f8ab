"""Every registered metric on digits: 10,000 or so images of an untrained model, with their features at hand.

Those of sequences are measured on moving digits.
"""

from __future__ import annotations

from copy import copy
from functools import cache
from typing import Any

from .common import DEVICES, metric_inputs, names, ours, skipping, synchronise, torch_device

EXTRACTOR = "mlp-digits-v1"


@cache
def ready(name: str, device: str) -> tuple[Any, Any]:
    """Return a metric and the inputs from the first model that has what it needs and takes the data; else skip."""
    with skipping():
        registry, read_suite = ours("registry"), ours("read_suite")
        metric = registry.metrics.get(name)
        still, moving = ({m.split("@")[0] for m in read_suite(s).metrics} for s in ("digits", "video-digits"))
        able = [model for model in names()["models"] if metric.ability in registry.models.get(model).abilities]
    for model in able:
        try:
            sequences = name in moving - still or metric.ability == "predict"
            return metric, metric_inputs(model, device, "video-digits" if sequences else "digits")
        except NotImplementedError:  # images instead of sequences, say
            continue
    raise NotImplementedError(f"no model can {metric.ability}")


def compute(name: str, device: str) -> None:
    """Compute a metric and wait for the device; images and features are kept from the first time."""
    metric, kept = ready(name, device)
    # A copy, because some metrics keep their answer for as long as their inputs live.
    with skipping():  # digits have no known law, for one
        metric.compute(copy(kept), "" if metric.needs_extractor == "no" else EXTRACTOR)
    synchronise(device)


class Metrics:
    """Time of a metric."""

    version = "1"
    params = (names()["metrics"], DEVICES)
    param_names = ("metric", "device")
    warmed = False

    def setup(self, metric: str, device: str) -> None:
        torch_device(device)
        if not self.warmed:
            compute(metric, device)
            self.warmed = True

    def time_compute(self, metric: str, device: str) -> None:
        compute(metric, device)


class Memory:
    """Most memory of the process while a metric is computed."""

    version = "1"
    params = (names()["metrics"],)
    param_names = ("metric",)

    def setup(self, metric: str) -> None:
        compute(metric, "torch:cpu")

    def peakmem_compute(self, metric: str) -> None:
        compute(metric, "torch:cpu")
