"""Which means differ: against SciPy pair by pair, and where there is no test."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from ganbench.reporting.significance import better_and_worse


@pytest.mark.parametrize("size", [2, 3, 20])
def test_counts_are_those_of_adjusted_tests_of_single_pairs(size: int) -> None:
    draw = np.random.default_rng(size)
    samples = [draw.normal(3 * draw.normal(), draw.uniform(0.1, 1), draw.integers(2, 9)) for _ in range(size)]
    pairs = list(combinations(range(size), 2))
    adjusted = stats.false_discovery_control(
        [stats.ttest_ind(samples[a], samples[b], equal_var=False).pvalue for a, b in pairs]
    )
    means, deviations = np.array([[x.mean(), x.std(ddof=1)] for x in samples]).T
    better, worse = np.zeros(size), np.zeros(size)
    for (a, b), p in zip(pairs, adjusted, strict=True):
        winner, loser = (a, b) if means[a] > means[b] else (b, a)
        better[loser] += p < 0.05
        worse[winner] += p < 0.05
    found = better_and_worse(means, deviations, np.array([len(x) for x in samples]))
    assert better.sum() > 0 and np.array_equal(found, [better, worse])


def test_pairs_without_a_test_count_among_those_to_correct_for() -> None:
    """One p-value of 0.02 is significant alone, and not among 28 pairs of which 27 have no test."""
    means, deviations, counts = np.array([0.0, 1.0]), np.array([0.5, 0.5]), np.array([5, 5])
    p = stats.ttest_ind_from_stats(0, 0.5, 5, 1, 0.5, 5, equal_var=False).pvalue
    assert 0.05 / 28 < p < 0.05
    assert [list(part) for part in better_and_worse(means, deviations, counts)] == [[1, 0], [0, 1]]
    lone = np.full(6, math.nan)
    more = better_and_worse(
        np.append(means, np.arange(6)), np.append(deviations, lone), np.append(counts, [1] * 6)
    )
    assert not np.any(more)


def test_constants_differ_for_certain_or_not_at_all() -> None:
    better, worse = better_and_worse(np.array([1.0, 1.0, 2.0]), np.zeros(3), np.full(3, 3))
    assert list(better) == [1, 1, 0] and list(worse) == [0, 0, 2]


@pytest.mark.parametrize("mean", [math.inf, 1e300])
def test_infinite_means_and_deviations_allow_no_test(mean: float) -> None:
    assert not np.any(better_and_worse(np.array([mean, 1.0]), np.array([math.nan, 0.1]), np.array([3, 3])))


@pytest.mark.parametrize("size", [0, 1])
def test_less_than_two_means_have_no_pair(size: int) -> None:
    better, worse = better_and_worse(np.ones(size), np.ones(size), np.full(size, 3))
    assert list(better) == list(worse) == [0] * size
