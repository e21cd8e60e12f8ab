"""How well a model's clusters agree with the classes.

An accuracy needs a map from clusters to classes. Each rule for it is a metric of its own: one-to-one, majority, or
the class of one exemplar. The map is fitted on validation labels and judged on test labels.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, Split, register
from ganbench.metrics.numerics.averages import average

NO_CLASS = -1
"in a map: a cluster that stands for no class, so that all its images count as errors"


def assigned(log_probabilities: Tensor) -> Tensor:
    """Return the likeliest cluster of each image, int64 (n,); of equals the first.

    Args:
        log_probabilities: (n, K); -inf is allowed for all clusters but one.

    Raises:
        UserError: another number of axes, no image, NaN, or a row without a finite largest value.
    """
    if log_probabilities.ndim != 2 or not log_probabilities.numel():
        raise UserError(
            f"expected log-probabilities of shape (images, clusters), got {tuple(log_probabilities.shape)};"
            " give one row for each image"
        )
    highest, clusters = log_probabilities.max(dim=1)
    bad = int((~highest.isfinite()).sum())
    if bad:
        raise UserError(
            f"expected a finite largest log-probability of a cluster, got NaN or infinity in {bad} of"
            f" {len(highest)} rows; check whether training diverged"
        )
    return clusters


def log_odds(log_probabilities: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of each cluster, (n, K) float64: ranks images as p does, also where p rounds to 1.

    Args:
        log_probabilities: (n, K), up to a constant of each row; see `assigned`.
    """
    top = assigned(log_probabilities)[:, None]
    normal = log_probabilities.double().log_softmax(dim=1)
    others = normal.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)  # log(1 - p) of the likeliest
    odds = normal - torch.log1p(-normal.exp())
    return odds.scatter(1, top, normal.gather(1, top) - others)


def contingency(clusters: Tensor, labels: Tensor, count: int, classes: int) -> Tensor:
    """Return how many images of each class are in each cluster, (count, classes) int64.

    Args:
        clusters: int64 (n,), each below `count`.
        labels: int64 (n,), each below `classes`.

    Raises:
        UserError: no image, shapes that differ, an unknown cluster or class.
    """
    if clusters.shape != labels.shape or clusters.ndim != 1 or not len(labels):
        raise UserError(
            f"expected one label for each image's cluster, got {tuple(labels.shape)} labels and"
            f" {tuple(clusters.shape)} clusters; take the labels of the same split"
        )
    for name, values, limit in (("clusters", clusters, count), ("classes", labels, classes)):
        low, high = (int(bound) for bound in values.aminmax())
        if low < 0 or high >= limit:
            raise UserError(f"expected {name} from 0 to {limit - 1}, got {low} to {high}; number them from 0")
    return torch.bincount(clusters * classes + labels, minlength=count * classes).view(count, classes)


def one_to_one(table: Tensor) -> Tensor:
    """Return the class of each cluster, int64 (K,), if no two clusters may share one and most images are to fit.

    Args:
        table: (K, classes) counts. Clusters in excess get NO_CLASS, and so do pairs that have no image in common.

    Source: Kuhn 1955 (the Hungarian method); Xie et al. 2016, equation 10.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, needed here only

    clusters, classes = (torch.from_numpy(index) for index in linear_sum_assignment(table.numpy(), maximize=True))
    mapped = torch.full((len(table),), NO_CLASS)
    mapped[clusters] = torch.where(table[clusters, classes] > 0, classes, NO_CLASS)
    return mapped


def majority(table: Tensor) -> Tensor:
    """Return the most frequent class of each cluster, int64 (K,); of equals the first, NO_CLASS if it is empty.

    Args:
        table: (K, classes) counts.
    """
    return torch.where(table.sum(dim=1) > 0, table.argmax(dim=1), NO_CLASS)


def exemplars(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the label of the image that is surest of each cluster, int64 (K,); of equally sure ones the first.

    Args:
        log_probabilities: (n, K); see `assigned`.
        labels: int64 (n,).

    Source: Makhzani et al. 2015, section 6.
    """
    return labels[log_odds(log_probabilities).argmax(dim=0)]


def agreement(mapped: Tensor, clusters: Tensor, labels: Tensor) -> Tensor:
    """Return 1 for each image whose cluster stands for its class and 0 for the others, (n,) float64.

    Args:
        mapped: class of each cluster or NO_CLASS, int64 (K,).
        clusters, labels: int64 (n,).
    """
    return (mapped[clusters] == labels).double()


class _Clustered(NamedTuple):
    """A split's log-probabilities, likeliest clusters, labels, and counts."""

    log_probabilities: Tensor
    clusters: Tensor
    labels: Tensor
    table: Tensor


def _clustered(inputs: MetricInputs, split: Split) -> _Clustered:
    log_probabilities, labels = inputs.call("cluster", split).double().cpu(), inputs.labels(split).cpu()
    clusters = assigned(log_probabilities)
    table = contingency(clusters, labels, log_probabilities.shape[1], 1 + int(labels.max()))
    return _Clustered(log_probabilities, clusters, labels, table)


def _accuracy(
    inputs: MetricInputs,
    extractor: str,
    rule: str,
    fit: Callable[[_Clustered], Tensor],
    split: Split = "validation",
) -> Score:
    test, fitted = _clustered(inputs, "test"), _clustered(inputs, split)
    hits = agreement(fit(fitted), test.clusters, test.labels)
    protocol = (
        f"K={len(test.table)}; {rule} of {len(fitted.labels)} {split} images; share of {len(hits)} test images"
    )
    return average(hits, protocol)


def _likeness(inputs: MetricInputs, extractor: str, function: str, text: str) -> Score:
    from sklearn import metrics  # slow to import, needed here only

    test = _clustered(inputs, "test")
    with warnings.catch_warnings():
        # Advice for those who pass measurements for classes: where most images have a cluster of their own.
        warnings.simplefilter("ignore", UserWarning)
        value = float(getattr(metrics, function)(test.labels.numpy(), test.clusters.numpy()))
    return Score(value, torch.nan, len(test.labels), f"K={len(test.table)}; {text}{len(test.labels)} test images")


def _nonempty(inputs: MetricInputs, extractor: str) -> Score:
    log_probabilities = inputs.call("cluster", "test").double()
    found, count = len(assigned(log_probabilities).unique()), log_probabilities.shape[1]
    protocol = f"K={count}; clusters with any of {len(log_probabilities)} test images"
    return Score(float(found), torch.nan, len(log_probabilities), protocol)


_ONE, _MOST, _SUREST = (
    "one-to-one map by the counts",
    "majority map by the counts",
    "class of each cluster's surest",
)

for _name, _summary, _compute in (
    (
        "cluster-accuracy",
        "share of images whose cluster is matched to their class, one to one; Xie et al. 2016",
        functools.partial(_accuracy, rule=_ONE, fit=lambda fitted: one_to_one(fitted.table)),
    ),
    (
        "cluster-purity",
        "share of images of their cluster's majority class; rises with K",
        functools.partial(_accuracy, rule=_MOST, fit=lambda fitted: majority(fitted.table)),
    ),
    (
        "exemplar-accuracy",
        "share of images of the class of their cluster's surest image; Makhzani et al. 2015",
        functools.partial(
            _accuracy, rule=_SUREST, fit=lambda fitted: exemplars(fitted.log_probabilities, fitted.labels)
        ),
    ),
    (
        "exemplar-accuracy-test",
        "the same as published, with K test labels leaked: exemplars are test images; Li et al. 2018",
        functools.partial(
            _accuracy,
            rule=_SUREST,
            fit=lambda fitted: exemplars(fitted.log_probabilities, fitted.labels),
            split="test",
        ),
    ),
    (
        "nmi",
        "mutual information of clusters and classes / arithmetic mean of their entropies",
        functools.partial(_likeness, function="normalized_mutual_info_score", text="arithmetic mean; "),
    ),
    (
        "ari",
        "pairs of images that clusters and classes treat alike, 0 by chance; Hubert and Arabie 1985",
        functools.partial(_likeness, function="adjusted_rand_score", text=""),
    ),
    ("nonempty-clusters", "clusters that hold any test image", _nonempty),
):
    register(
        Metric(
            name=_name,
            version=1,
            summary=_summary,
            ability="cluster",
            better="higher",
            compute=_compute,
        )
    )
