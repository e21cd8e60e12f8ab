"""Two-sample metrics: known distances, sums written out in loops, and permutation tests that keep their level."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest
import torch
from scipy import stats
from torch import Tensor

from ganbench import datasets, registry
from ganbench.distributions.known import KnownDistribution
from ganbench.errors import UserError
from ganbench.metrics.two_sample import (
    gaussian_kernel,
    median_bandwidth,
    mmd2_of_groups,
    mmd_test,
    p_value,
    wasserstein1,
    wasserstein1_test,
)

NAMES = ("mmd", "mmd-p", "w1", "w1-p")


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(eq=False)
class Samples:
    """MetricInputs of generated and test samples and perhaps a law."""

    generated: Tensor
    test: Tensor
    distribution: KnownDistribution | None = None

    @property
    def samples(self) -> int:
        return len(self.generated)

    def fake(self, n: int) -> Tensor:
        return self.generated[:n]

    def real(self, split: str, n: int) -> Tensor:
        assert split == "test"
        return self.test[:n]


def compute(name: str, inputs: Samples):
    return registry.metrics.get(name).compute(inputs, "")


def test_mmd_is_the_sum_over_pairs() -> None:
    x, y, sigma = normal(0, 6, 3), normal(1, 5, 3) + 1, 1.7

    def k(a: Tensor, b: Tensor) -> float:
        return math.exp(-float((a - b).square().sum()) / (2 * sigma**2))

    own_x = sum(k(a, b) for a, b in itertools.permutations(x, 2)) / 30
    own_y = sum(k(a, b) for a, b in itertools.permutations(y, 2)) / 20
    cross = sum(k(a, b) for a in x for b in y) / 30
    value, p = mmd_test(x, y, 0, sigma)
    assert value == pytest.approx(own_x + own_y - 2 * cross, rel=1e-12) and p == 1


def test_mmd_of_gaussians_is_the_closed_form() -> None:
    # E k = s / sqrt(s^2 + 2) exp(-shift^2 / (2 (s^2 + 2))) for one dimension and unit variances.
    x, y, s = normal(0, 2000, 1), normal(1, 2000, 1) + 1, 1.0
    expected = 2 * s / math.sqrt(s**2 + 2) * (1 - math.exp(-1 / (2 * (s**2 + 2))))
    assert mmd_test(x, y, 0, s)[0] == pytest.approx(expected, rel=0.1)


def test_mmd_of_equal_laws_is_0_on_average_as_a_biased_estimate_could_not_be() -> None:
    values = torch.tensor([mmd_test(normal(2 * i, 50, 2), normal(2 * i + 1, 50, 2), 0, 1.5)[0] for i in range(60)])
    assert abs(float(values.mean())) < 3 * float(values.std()) / math.sqrt(60) and (values < 0).any()


def test_groups_by_columns_are_groups_one_by_one() -> None:
    z = normal(0, 20, 2)
    marks = torch.stack([torch.arange(20) < 8, torch.arange(20) % 3 == 0], 1)
    found = mmd2_of_groups(gaussian_kernel(z, 1.0), marks.double())
    for mark, value in zip(marks.T, found, strict=True):
        assert mmd_test(z[mark], z[~mark], 0, 1.0)[0] == pytest.approx(float(value), abs=1e-14)


def test_bandwidth_is_the_median_distance_of_pairs() -> None:
    assert median_bandwidth(torch.tensor([[0.0], [1.0], [3.0]])) == 2
    with pytest.raises(UserError, match="half of all pairs"):
        median_bandwidth(torch.zeros(5, 2))


def test_p_values_count_the_observed_one_itself() -> None:
    assert p_value(3.0, torch.tensor([1.0, 2.0, 3.0, 4.0])) == 0.6
    assert p_value(9.0, torch.zeros(499)) == 1 / 500


@pytest.mark.parametrize("kind", ["mmd", "w1"])
def test_permutation_p_values_are_uniform_under_the_null_and_small_otherwise(kind: str) -> None:
    def test(x: Tensor, y: Tensor) -> float:
        return mmd_test(x, y, 99, 1.5)[1] if kind == "mmd" else wasserstein1_test(x, y, 99)

    null = [test(normal(2 * i, 40, 2), normal(2 * i + 1, 40, 2)) for i in range(60)]
    assert stats.kstest(null, stats.uniform.cdf).pvalue > 0.005
    assert test(normal(0, 100, 2), normal(1, 100, 2) + 1) == 0.01
    assert test(normal(0, 100, 2), normal(0, 100, 2)) == 1  # copies are nearer than any permutation


def test_w1_is_exact_in_one_dimension_and_for_shifts() -> None:
    x, y = normal(0, 300, 1), 2 * normal(1, 300, 1) - 1
    expected = stats.wasserstein_distance(x[:, 0], y[:, 0])
    assert wasserstein1(torch.cdist(x, y)) == pytest.approx(expected, rel=1e-12)
    # Example 1 of Arjovsky et al. 2017: the same segment, moved sideways by theta.
    line = torch.cat([torch.zeros(200, 1), torch.rand(200, 1)], 1).double()
    moved = line + torch.tensor([0.7, 0.0], dtype=torch.float64)
    assert wasserstein1(torch.cdist(line, moved)) == pytest.approx(0.7, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_protocols_name_counts_and_give_the_same_again(name: str) -> None:
    inputs = Samples(normal(0, 3000, 2).float(), normal(1, 2500, 2).float())
    score = compute(name, inputs)
    n = {"mmd": 2000, "mmd-p": 2000, "w1": 500, "w1-p": 250}[name]
    assert score.n == n and f"first {n} generated and first {n} test samples" in score.protocol
    assert "float64" in score.protocol and compute(name, inputs) == pytest.approx(score, nan_ok=True)
    if name.endswith("-p"):
        assert 0 < score.value <= 1 and "permutations" in score.protocol
    else:
        far = Samples(inputs.generated + 1, inputs.test)
        assert compute(name, far).value > score.value


def test_images_are_compared_pixel_by_pixel() -> None:
    x, y = torch.rand(50, 1, 4, 4), torch.rand(50, 1, 4, 4)
    expected = wasserstein1(torch.cdist(x.flatten(1).double(), y.flatten(1).double()))
    assert compute("w1", Samples(x, y)).value == pytest.approx(expected, rel=1e-6)


def test_log_density_of_true_samples_is_minus_the_entropy_and_rewards_collapse() -> None:
    law = datasets.load("ring").distribution
    score = compute("log-density", Samples(law.sample(10_000, 0), torch.zeros(1, 2), law))
    entropy = math.log(8) + 1 + math.log(2 * math.pi * 0.01**2)
    assert score.value == pytest.approx(-entropy, abs=4 * score.std_error) and score.n == 10_000
    assert score.std_error == pytest.approx(1 / 100, rel=0.1)  # half a chi-squared of two degrees varies by 1
    peak = law.modes.centres[:1].float().repeat(100, 1)
    assert compute("log-density", Samples(peak, peak, law)).value > score.value + 0.9


def test_samples_where_the_law_has_no_mass_are_told() -> None:
    law = datasets.load("implicit-exp").distribution
    score = compute("log-density", Samples(torch.tensor([[-1.0], [1.0], [2.0]]), torch.zeros(1, 1), law))
    assert math.isnan(score.value) and score.detail.startswith("minus infinity: 1 of 3 samples")


def test_bad_samples_are_user_errors() -> None:
    bad = normal(0, 300, 2)
    bad[3, 1] = math.nan
    for name in NAMES:
        with pytest.raises(UserError, match=r"finite|dimensions") as error:
            compute(name, Samples(bad[:250], normal(1, 300, 2)))
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="2 dimensions and real samples have 3"):
        compute("w1", Samples(normal(0, 10, 2), normal(0, 10, 3)))
