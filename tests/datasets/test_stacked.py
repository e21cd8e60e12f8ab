"""Stacked MNIST: the triples, what a classifier must see in them, and the counts of its 1000 modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ganbench import datasets, registry
from ganbench.datasets import Dataset, stacked_mnist
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData
from ganbench.metrics import Features
from ganbench.metrics.modes import divergence
from ganbench.metrics.stacked import channel_logits, histogram

LENET = "lenet-mnist-v1"
NAMES = ("stacked-modes", "stacked-kl", "stacked-modes-metz", "stacked-kl-metz")


@dataclass(eq=False)
class Seen:
    """MetricInputs of what a classifier says of each channel."""

    logits: Tensor

    def fake(self, n: int) -> Tensor:
        return torch.arange(n)[:, None, None, None].expand(n, self.logits.shape[1], 1, 1)

    def extract(self, images: Tensor, extractor: str) -> Features:
        return Features(images, self.logits[images[:: self.logits.shape[1], 0, 0, 0]].flatten(0, 1))

    def extractor_id(self, extractor: str) -> str:
        return f"{extractor}@sha256:0"


def of_labels(labels: Tensor) -> Tensor:
    """Return logits (n, 3, 10) of a classifier that sees these labels."""
    digits = torch.stack([labels // 100, labels // 10 % 10, labels % 10], 1)
    return 5 * torch.nn.functional.one_hot(digits, 10).double()


def score(name: str, labels: Tensor):
    return registry.metrics.get(name).compute(Seen(of_labels(labels)), LENET)


def test_even_triples_score_all_modes_and_kl_0() -> None:
    labels = torch.arange(26_000) % 1000
    assert histogram(of_labels(labels)).tolist() == [26] * 1000
    assert score("stacked-modes", labels).value == 1000
    assert score("stacked-kl", labels).value == pytest.approx(0, abs=1e-12)
    metz = score("stacked-kl-metz", labels)
    counts = labels[:25_600].bincount().double() / 25_600
    assert metz.value == pytest.approx(float((counts * (1000 * counts).log()).sum())) and metz.n == 25_600


def test_one_triple_scores_one_mode_and_log_1000() -> None:
    labels = torch.full((26_000,), 427)
    assert score("stacked-modes", labels).value == 1
    assert score("stacked-kl", labels).value == pytest.approx(math.log(1000))
    assert int(histogram(of_labels(labels)).argmax()) == 427


def test_rare_hits_are_told_apart() -> None:
    labels = torch.cat([torch.full((25_980,), 5), torch.arange(100, 116), torch.full((4,), 5)])
    found = score("stacked-modes", labels)
    assert found.value == 17 and found.detail == "1 modes with at least 5 hits"
    assert "26000 generated images" in found.protocol and "lenet-mnist-v1@sha256:0" in found.protocol


def test_uniform_draws_have_the_floor_of_sampling() -> None:
    labels = torch.randint(1000, (26_000,), generator=torch.Generator().manual_seed(0))
    assert score("stacked-kl", labels).value == pytest.approx(999 / 52_000, rel=0.1)


def test_other_channels_or_classes_are_a_user_error() -> None:
    for shape in ((4, 1, 10), (4, 3, 7), (4, 10)):
        with pytest.raises(UserError, match="3 channels and 10 classes"):
            histogram(torch.zeros(shape))


def test_channel_logits_are_those_of_each_channel_as_a_grey_image() -> None:
    images = torch.rand(7, 3, 28, 28)
    made = []

    class Drawn(RunInputs):
        def __init__(self) -> None:
            split = (images * 255).byte()
            self.real_data = RealData(Dataset("d", dict.fromkeys(("train", "validation", "test"), split)))

        def fake(self, n: int | None = None) -> Tensor:
            made.append(n)
            return images[:n]

    metric_inputs = Drawn()
    few = channel_logits(metric_inputs, LENET, 4)
    every = channel_logits(metric_inputs, LENET, 7)
    assert every.shape == (7, 3, 10) and every.dtype == torch.float64 and torch.equal(every[:4], few)
    for channel in range(3):
        alone = metric_inputs.real_data.extract(images[:, channel : channel + 1], LENET).logits
        assert torch.allclose(every[:, channel], alone, atol=1e-9)
    channel_logits(metric_inputs, LENET, 4)
    assert made == [4, 7]  # what is known is not made again
    with pytest.raises(UserError, match="no logits"):
        channel_logits(metric_inputs, "pixels", 2)
    with pytest.raises(UserError, match="for images of shape"):
        channel_logits(metric_inputs, "mlp-digits-v1", 2)


def test_metrics_ask_for_a_classifier() -> None:
    for name in NAMES:
        metric = registry.metrics.get(name)
        assert metric.needs_extractor == "logits"
        assert metric.better == ("higher" if "modes" in name else "lower")


@pytest.mark.data
def test_triples_are_made_of_the_digits_of_their_own_split() -> None:
    data, digits = datasets.load("stacked-mnist"), datasets.load("mnist")
    assert data.classes == 1000 and data.data_spec.shape == (3, 28, 28)
    for seed, (split, n) in enumerate((("train", 50_000), ("validation", 10_000), ("test", 26_000))):
        images, labels = data.images[split], data.labels[split]
        assert images.shape == (n, 3, 28, 28) and images.dtype == torch.uint8 and labels.shape == (n,)
        rows = stacked_mnist.triples(10_000 if seed else 50_000, n, seed)
        for place, (channel, power) in enumerate(((0, 100), (1, 10), (2, 1))):
            assert torch.equal(images[:50, channel], digits.images[split][rows[:50, place], 0])
            assert torch.equal(labels // power % 10, digits.labels[split][rows[:, place]])
    assert len(data.labels["test"].unique()) == 1000


@pytest.mark.data
def test_real_test_triples_score_1000_modes_and_a_kl_of_0_024() -> None:
    digits = datasets.load("mnist")
    seen = RealData(digits).features("test", LENET).logits
    assert seen is not None
    # A triple's logits are those of its three digits, so 10,000 passes do instead of 78,000.
    logits = seen[stacked_mnist.triples(10_000, 26_000, 2)]
    modes, kl = (registry.metrics.get(name).compute(Seen(logits), LENET) for name in NAMES[:2])
    assert modes.value == 1000 and kl.value == pytest.approx(0.024, abs=0.003)
    assert int(modes.detail.split()[0]) >= 995
    labels = datasets.load("stacked-mnist").labels["test"]
    true = divergence(labels.bincount(minlength=1000), torch.full((1000,), 1e-3))
    assert kl.value == pytest.approx(true, abs=0.001)
