"""Mode coverage: what true samples, one mode and noise must score."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ganbench import datasets, registry
from ganbench.distributions.known import KnownDistribution, Modes
from ganbench.errors import UserError
from ganbench.metrics.modes import divergence, nearest_modes


@dataclass(eq=False)
class Samples:
    """MetricInputs of given samples and a law."""

    generated: Tensor
    distribution: KnownDistribution

    def fake(self, n: int) -> Tensor:
        return self.generated[:n]


def score(name: str, generated: Tensor, truth: KnownDistribution):
    return registry.metrics.get(name).compute(Samples(generated, truth), "")


@pytest.mark.parametrize(("name", "modes", "floor"), [("ring", 8, 0.0014), ("grid", 25, 0.0049),
                         ("8gaussians", 8, 0.0014), ("25gaussians", 25, 0.0049)])  # fmt: skip
def test_true_samples_find_all_modes_98_9_percent_of_the_time_evenly(name: str, modes: int, floor: float) -> None:
    truth = datasets.load(name).distribution
    draws = [truth.sample(2500, seed) for seed in range(10)]
    assert [score("modes-captured", x, truth).value for x in draws] == [modes] * 10
    shares = [score("high-quality", x, truth) for x in draws]
    for share in shares:
        assert share.value == pytest.approx(1 - math.exp(-4.5), abs=0.01) and share.n == 2500
        assert share.std_error == pytest.approx(math.sqrt(share.value * (1 - share.value) / 2500))
    assert sum(s.value for s in shares) / 10 == pytest.approx(0.989, abs=0.004)
    mean = sum(score("mode-kl", x, truth).value for x in draws) / 10
    assert mean == pytest.approx(floor, rel=0.5)  # (modes - 1) / 5000 on average


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_one_mode_scores_1_and_log_k(name: str) -> None:
    truth = datasets.load(name).distribution
    x = truth.modes.centres[3] + 0.5 * truth.modes.spread * torch.randn(2500, 2)
    assert score("modes-captured", x, truth).value == 1
    assert score("high-quality", x, truth).value > 0.99
    assert score("mode-kl", x, truth).value == pytest.approx(math.log(len(truth.modes.centres)), abs=1e-12)


def test_samples_far_from_all_modes_have_no_kl_and_say_why() -> None:
    truth = datasets.load("ring").distribution
    x = torch.zeros(2500, 2)
    assert score("modes-captured", x, truth).value == 0 and score("high-quality", x, truth).value == 0
    kl = score("mode-kl", x, truth)
    assert math.isnan(kl.value) and kl.detail == "none of 2500 samples is of high quality" and kl.n == 0


def test_only_high_quality_samples_count_and_the_bound_itself_is_outside() -> None:
    modes = Modes(torch.tensor([[0.0, 0.0], [100.0, 0.0]]).double(), 1.0, torch.tensor([0.5, 0.5]).double())
    x = torch.tensor([[3.0, 0.0], [2.999, 0.0], [0.0, 2.5], [97.5, 0.0], [50.1, 0.0]]).double()
    nearest, high = nearest_modes(x, modes)
    assert nearest.tolist() == [0, 0, 0, 1, 1] and high.tolist() == [False, True, True, True, False]


def test_per_dimension_distances_let_true_samples_of_1200_dimensions_through() -> None:
    truth = datasets.load("mixture-1200d").distribution
    x = truth.sample(2500, 0)
    assert score("high-quality", x, truth).value == 1 and score("modes-captured", x, truth).value == 10
    assert "root mean square" in score("high-quality", x, truth).protocol
    modes = truth.modes
    _, euclidean = nearest_modes(x, Modes(modes.centres, modes.spread, modes.probabilities))
    assert not euclidean.any()  # the literal reading would count none
    for deviations, inside in ((2.5, True), (3.5, False)):  # along every dimension
        alone = Modes(modes.centres[:1], modes.spread, modes.probabilities[:1], per_dimension=True)
        assert nearest_modes(alone.centres + deviations * modes.spread, alone)[1].tolist() == [inside]
    flat = datasets.load("mixture-100d").distribution
    x = flat.sample(2500, 0)
    assert score("modes-captured", x, flat).value == 10 and score("high-quality", x, flat).value > 0.98


def test_divergence_of_counts_is_that_of_their_shares() -> None:
    p = torch.tensor([0.5, 0.25, 0.25])
    assert divergence(torch.tensor([2, 1, 1]), p) == pytest.approx(0, abs=1e-15)
    expected = 0.5 * math.log(2) + 0.5 * math.log(2)
    assert divergence(torch.tensor([0, 7, 7]), p) == pytest.approx(expected)


def test_protocol_says_all_that_fixes_the_number() -> None:
    truth = datasets.load("ring").distribution
    text = score("mode-kl", truth.sample(2500, 0), truth).protocol
    for part in ("first 2500 generated", "8 modes", "less than 3 standard deviations", "Euclidean", "float64"):
        assert part in text


def test_a_law_without_modes_and_other_dimensions_are_user_errors() -> None:
    with pytest.raises(UserError, match="no known modes"):
        score("modes-captured", torch.zeros(2500, 1), datasets.load("implicit-exp").distribution)
    with pytest.raises(UserError, match="3 dimensions"):
        score("modes-captured", torch.zeros(2500, 3), datasets.load("ring").distribution)
