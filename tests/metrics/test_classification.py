"""Classification error and condition accuracy: on made-up inputs and on games whose answers are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from ganbench import datasets, registry
from ganbench.distributions.noise import Uniform
from ganbench.errors import UserError
from ganbench.evaluation.inputs import CHUNK, RunInputs
from ganbench.evaluation.real import RealData
from ganbench.features import Extractor, register
from ganbench.game.contract import Config, Game
from ganbench.metrics import Features
from ganbench.metrics.classification import hits
from ganbench.suites.spec import RunSpec


@dataclass(eq=False)
class FakeInputs:
    """MetricInputs of four classes whose classifier, the game's own or the extractor, gives these logits."""

    logits: Tensor | None
    classes: Tensor
    game = SimpleNamespace(data=SimpleNamespace(classes=4), supervision="conditional")

    @property
    def samples(self):
        return len(self.classes) + 3  # those that do not allow equally many of each class are left out

    def call(self, ability, source):
        assert (ability, source) == ("classify", "test")
        return self.logits

    def labels(self, split):
        assert split == "test"
        return self.classes

    def make(self, ability, n, y):
        assert ability == "condition" and n == len(self.classes) and torch.equal(y, self.classes)
        return torch.zeros(n, 1)

    def extract(self, images, extractor):
        return Features(images, self.logits)

    def extractor_id(self, extractor):
        return f"{extractor}@sha256:0"


def score(name: str, metric_inputs: object):
    return registry.metrics.get(name).compute(metric_inputs, "blind")


@pytest.mark.parametrize("model", ["graphical-gan-mixture", "3dcnn"])
def test_noise_of_critics_is_part_of_the_protocol(model):
    name = "moving-digits" if model == "3dcnn" else "digits"
    data = datasets.load(name)
    backbone = {"kind": "mlp", "generator": [12], "critic": [10]}
    found = []
    for level in (0.0, 0.3):
        settings = registry.models.get(model).settings(backbone, {"critic_noise": level})
        game = registry.models.get(model).build(data.data_spec, settings, 0).eval()
        spec = RunSpec("t", 1, "t", name, model, settings, {}, 0, rounds=1, batch=1, ema=0.0, samples=20)
        found.append(score("critic-accuracy", RunInputs(game, spec, RealData(data))).protocol)
    assert [text.split("; ")[-1] for text in found] == [
        f"noise of {level} on what they see" for level in ("0", "0.3")
    ]


def answers(right: int, wrong: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Logits of any scale of which so many are right, and the classes."""
    y = torch.arange(right + wrong) % classes
    said = torch.where(torch.arange(right + wrong) < right, y, (y + 1) % classes)
    noise = torch.rand(right + wrong, classes, generator=torch.Generator().manual_seed(0)).double()
    return 50 * (noise + 2 * torch.nn.functional.one_hot(said, classes)), y


@pytest.mark.parametrize(("name", "sign"), [("classification-error", 0), ("condition-accuracy", 1)])
def test_shares_and_their_standard_errors(name, sign):
    found = score(name, FakeInputs(*answers(right=90, wrong=30)))
    share = 0.75 if sign else 0.25
    assert found.value == share and found.n == 120
    assert found.std_error == pytest.approx(math.sqrt(share * (1 - share) / 119), rel=1e-12)
    assert "120" in found.protocol and ("30 of each of 4" in found.protocol) == bool(sign)
    perfect = score(name, FakeInputs(*answers(right=40, wrong=0)))
    assert (perfect.value, perfect.std_error) == (sign, 0)
    metric = registry.metrics.get(name)
    assert metric.better == ("higher" if sign else "lower") and metric.ability == (
        "condition" if sign else "classify"
    )


def test_hits_are_invariant_to_order_and_scale_and_take_the_first_of_equals():
    logits, y = answers(7, 5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(hits(3 * logits[order] - 7, y[order]), hits(logits, y)[order])
    assert hits(torch.ones(4, 4), torch.arange(4)).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("logits", "y", "message"),
    [
        (torch.full((3, 4), math.nan), torch.zeros(3).long(), "expected finite values"),
        (torch.zeros(3, 4), torch.zeros(2).long(), "expected one class for each of 3 rows"),
        (torch.zeros(3, 4), torch.tensor([0, 4, 1]), "expected classes from 0 to 3, got 0 to 4"),
        (torch.zeros(0, 4), torch.zeros(0).long(), "expected at least 1 rows"),
    ],
)
def test_bad_answers_are_errors(logits, y, message):
    with pytest.raises(UserError, match=message):
        hits(logits, y)


def test_condition_accuracy_needs_a_classifier_of_these_classes():
    y = answers(8, 0)[1]
    with pytest.raises(UserError, match="gives no class logits, which condition-accuracy needs"):
        score("condition-accuracy", FakeInputs(None, y))
    with pytest.raises(UserError, match="knows 5 classes, the data have 4"):
        score("condition-accuracy", FakeInputs(torch.zeros(8, 5), y))


# ---------------------------------------------------------------- from a game


class Painter(Game):
    """Paints the class as a grey level and misses it for u < 1/4; not registered."""

    supervision = "conditional"

    def __init__(self, data, config: Config = Config()) -> None:
        super().__init__(data, config)

    def noise(self):
        return {"u": Uniform(1), "mask": Uniform(2, training_only=True)}

    def condition(self, noise, y):
        assert set(noise) == {"u"}
        level = (y + (noise["u"][:, 0] < 0.25)) % 4 / 3
        return (2 * level - 1)[:, None, None, None].expand(-1, *self.data.shape)

    def classify(self, x):
        """Say 0 of images that are darker at the first pixel than at the last, 1 of the others."""
        dark = (x.flatten(1)[:, 0] < x.flatten(1)[:, -1]).double()
        return torch.stack([dark, 0.5 + 0 * dark, -1 + 0 * dark, -1 + 0 * dark], 1)


class Levels(nn.Module):
    """Logits by the distance of the mean pixel from each of four grey levels."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return mean[:, None], -(mean[:, None] - torch.arange(4) / 3).abs()


@dataclass
class Spec:
    """What evidence asks of a run's specification."""

    samples: int
    seed: int
    model: str = "painter"


@pytest.fixture
def metric_inputs(tiny, clean_registry):
    register(Extractor("levels", "grey levels", "", Levels))
    data = tiny()
    return lambda samples, seed=0: RunInputs(Painter(data.data_spec).eval(), Spec(samples, seed), RealData(data))


def test_images_are_made_for_classes_in_turn_equally_often(metric_inputs):
    n = 2 * CHUNK + 4
    y = torch.arange(n) % 4
    images = metric_inputs(5).make("condition", n, y)
    found = registry.metrics.get("condition-accuracy").compute(metric_inputs(n + 3), "levels")
    said = metric_inputs(5).extract(images, "levels").logits.argmax(1)
    assert found.n == n and found.value == (said == y).double().mean().item()
    # the first images do not depend on how many are asked for, other seeds give others
    assert torch.equal(metric_inputs(5).make("condition", 40, y), images[:40])
    assert not torch.equal(metric_inputs(5, seed=1).make("condition", 40, y), images[:40])


def test_condition_accuracy_of_a_game_that_misses_a_quarter(metric_inputs):
    found = registry.metrics.get("condition-accuracy").compute(metric_inputs(2000), "levels")
    assert found.value == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 2000))
    assert found.n == 2000 and "500 of each of 4 classes; levels" in found.protocol


def test_too_few_samples_are_an_error(metric_inputs):
    with pytest.raises(UserError, match="expected at least 4 samples, one of each class, got 3"):
        registry.metrics.get("condition-accuracy").compute(metric_inputs(3), "levels")


def test_classification_error_of_a_game_on_its_test_split(metric_inputs, tiny):
    data = tiny()
    pixels = data.images["test"].flatten(1).int()
    said = torch.where(pixels[:, 0] < pixels[:, -1], 0, 1)
    found = registry.metrics.get("classification-error").compute(metric_inputs(40), "")
    assert found.value == (said != data.labels["test"]).double().mean().item()
    assert 0 < found.value < 1 and found.n == 64


def test_unlabelled_data_have_no_classification_error(metric_inputs):
    run = metric_inputs(40)
    run.real_data = RealData(replace(run.real_data.data, labels={}))
    with pytest.raises(UserError, match="has no labels"):
        registry.metrics.get("classification-error").compute(run, "")
