"""Which means differ: Welch's t-test of every pair, with the false discoveries among them held at 5 %."""

from __future__ import annotations

import numpy as np
from scipy import stats

Array = np.ndarray
FALSE_DISCOVERIES = 0.05  # share of the significant differences that are none


def better_and_worse(means: Array, deviations: Array, counts: Array) -> tuple[Array, Array]:
    """Return how many means are significantly better and how many significantly worse than each, int (n,) both.

    Args:
        means: (n,), larger is better, not NaN.
        deviations: standard deviations of single values, (n,); NaN allows no test, as one value or infinite ones.
        counts: number of values of each mean, (n,).

    Source: Welch 1947; Benjamini and Hochberg 1995, over all n (n - 1) / 2 pairs, those without a test included.
    """
    size = len(means)
    a, b = np.triu_indices(size, 1)
    if not len(a):
        return np.zeros(size, int), np.zeros(size, int)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = ((means[i], deviations[i], counts[i]) for i in (a, b))
        p = stats.ttest_ind_from_stats(*first, *second, equal_var=False).pvalue
    p[np.isnan(p)] = 1  # no test, or equal constants
    found = stats.false_discovery_control(p) < FALSE_DISCOVERIES
    a, b = a[found], b[found]
    ahead = means[a] > means[b]
    winners, losers = np.where(ahead, a, b), np.where(ahead, b, a)
    return np.bincount(losers, minlength=size), np.bincount(winners, minlength=size)
