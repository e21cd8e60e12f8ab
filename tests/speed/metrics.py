"""Every registered metric on digits: 10,000 or so images of an untrained model, with their features at hand."""

from __future__ import annotations

from typing import Any

from .common import DEVICES, evidence, names, skipping, synchronise, torch_device

EXTRACTOR = "mlp-digits-v1"


def compute(name: str, device: str) -> Any:
    """Return a metric's score of the first model that has the ability it needs."""
    with skipping():
        from ganbench import registry

        metric = registry.metrics.get(name)
        able = [m for m in names()["models"] if metric.ability in registry.models.get(m).abilities]
        if not able:
            raise NotImplementedError(f"no model can {metric.ability}")
        like = evidence(able[0], device)
    score = metric.compute(like, "" if metric.needs_extractor == "no" else EXTRACTOR)
    synchronise(device)
    return score


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
