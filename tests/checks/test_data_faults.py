"""`ganbench check` names what is wrong with a metric or a dataset, on one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

METRIC = '''
"""A metric."""

import torch

from ganbench.metrics import Metric, Score, register


def compute(inputs, extractor):
    fake = inputs.features("fake", extractor).features
    return Score(fake.mean().item(), 0.0, len(fake), "mean feature")


register(
    Metric(
        name="mine",
        version=1,
        summary="mean feature",
        ability="sample",
        better="higher",
        needs_extractor="features",
        unit="",
        compute=compute,
    )
)
'''


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("fake.mean()", "fake.mul_(2).mean()", "changes the answer of features in place"),
        ("fake.mean()", "(fake.mean() + torch.rand(()))", "draws from the global random state"),
        ("fake.mean()", "(fake.mean() + id(fake) % 99991)", "asked again it gives"),
        ("fake.mean().item()", "fake.mean()", "the value of the score is Tensor, expected a float"),
        ("fake.mean()", "fake.sum().sub(1e9).log()", "the value of the score is nan without a reason in detail"),
        ('"mean feature")\n', '"")\n', "the protocol of the score is empty"),
        ("return Score", "return 3.0 and ", "compute gives float, expected a Score"),
        ("len(fake)", "0", "n of the score must be a number of items, got 0"),
        ('"higher"', '"up"', "better must be higher or lower, got 'up'"),
        ("fake.mean()", "fake.no_such()", "AttributeError: 'Tensor' object has no attribute 'no_such'"),
    ],
)
def test_a_faulty_metric_is_named(checked: Callable[[str], Any], before: str, after: str, message: str) -> None:
    if after.endswith("and "):
        text = re.sub(r"return Score\(.*\)", "return 3.0", METRIC)
    else:
        text = METRIC.replace(before, after)
    assert text != METRIC
    answer = checked(text)
    assert answer.code == 2 and answer.out.count("\n") == 1 and message in answer.out, answer.out


DATASET = '''
"""A dataset."""

import torch

from ganbench.datasets import Dataset, Source, register


def load(root, download):
    draw = torch.Generator().manual_seed(3)
    images = {s: torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8, generator=draw) for s in SPLITS}
    labels = {s: torch.randint(4, (40,), generator=draw) for s in SPLITS}
    return Dataset("mine", images, labels, 4)


SPLITS = ("train", "validation", "test")
register(Source("mine", "random images", load))
'''


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("manual_seed(3)", "manual_seed(torch.seed() % 1000)", "a second load gives other items"),
        ("torch.randint(4, (40,), generator=draw)", "torch.randint(4, (40,))", "gives other labels of train"),
        ('"validation", "test")', '"test")', "splits are train, test, expected train, validation, test"),
        ("randint(4,", "randint(5,", "labels of train go from 0 to 4, expected 0 to 3"),
        ("(40,)", "(39,)", "labels of train are torch.int64 of shape (39,), expected int64 of shape (40,)"),
        ("randint(256,", "randint(2,", "pixels of train go from 0 to 1, expected 0 to 255"),
        (
            "generator=draw) for s in SPLITS}\n    l",
            "generator=draw).float() for s in SPLITS}\n    l",
            "torch.float32",
        ),
        (
            "    labels =",
            '    images["test"] = images["train"].flip(0)\n    labels =',
            "40 of 40 different items of test are also in train, e.g. item 0 is item 39 there",
        ),
        ("labels, 4)", "{}, 4)", "classes is 4, but there are no labels"),
        ("    draw =", "    raise KeyError('x')\n    draw =", "KeyError: 'x'"),
    ],
)
def test_a_faulty_dataset_is_named(checked: Callable[[str], Any], before: str, after: str, message: str) -> None:
    assert DATASET.count(before) >= 1
    answer = checked(DATASET.replace(before, after))
    assert answer.code == 2 and answer.out.count("\n") == 1 and message in answer.out, answer.out


def test_a_sound_metric_and_dataset_pass(checked: Callable[[str], Any]) -> None:
    answer = checked(
        METRIC
        + DATASET.replace("register", "datasets.register").replace(
            "from ganbench.datasets import Dataset, Source, datasets.register",
            "from ganbench import datasets\nfrom ganbench.datasets import Dataset, Source",
        )
    )
    assert answer.code == 0 and answer.out == "mine: 5 checks passed\nmine: 6 checks passed\n", (
        answer.out + answer.err
    )
