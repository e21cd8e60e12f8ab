"""Precision, recall, density and coverage: who lies in whose k-nearest-neighbour balls.

The radius of an item is the distance to its k-th nearest other item of the same set. An item on the sphere is
inside (<=), so identical constant features score as identical, not as 0.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import BLOCK, in_float64
from ganbench.metrics.numerics.checks import pair
from ganbench.metrics.numerics.distances import of_distances

K = 5
"nearest_k of the prdc library"


class Neighbours(NamedTuple):
    """One value per item; the metric is the mean."""

    precision: Tensor  # (n,) per generated item: 1 if it is in any real ball
    recall: Tensor  # (m,) per real item: 1 if it is in any generated ball
    density: Tensor  # (n,) per generated item: real balls it is in, divided by k
    coverage: Tensor  # (m,) per real item: 1 if any generated item is in its ball


def squared_to_nearest(queries: Tensor, centres: Tensor, k: int, block: int = BLOCK) -> Tensor:
    """Return the squared distances of (m, d) queries to their k-th nearest of (n, d) centres, (m,) float64."""

    def nearest(squared: Tensor, *_: slice) -> Tensor:
        return squared.topk(min(k, squared.shape[1]), largest=False).values

    panels = [torch.cat(blocks) for blocks in of_distances(nearest, queries, centres, block)]
    return torch.cat(panels, dim=1).topk(k, largest=False).values[:, -1]


def memberships(
    real: Tensor, fake: Tensor, real_radii: Tensor, fake_radii: Tensor, k: int, block: int = BLOCK
) -> Neighbours:
    """Return the four values item by item, given the squared radii (m,) and (n,) of the balls of both sides."""

    def balls(squared: Tensor, rows: slice, columns: slice) -> tuple[Tensor, Tensor, Tensor]:
        recalled = (squared <= fake_radii[rows, None]).any(dim=0)
        inside = squared.le_(real_radii[columns])  # (rows, columns): 1 if the generated item is in the real ball
        return inside.sum(dim=1), inside.amax(dim=0) > 0, recalled

    count, covered, recalled = torch.zeros(len(fake), dtype=torch.float64, device=fake.device), [], []
    for blocks in of_distances(balls, fake, real, block):
        counts, in_real, in_fake = zip(*blocks, strict=True)
        count += torch.cat(counts)
        covered.append(torch.stack(in_real).any(dim=0))
        recalled.append(torch.stack(in_fake).any(dim=0))
    return Neighbours((count > 0).double(), torch.cat(recalled).double(), count / k, torch.cat(covered).double())


def neighbours(real: Tensor, fake: Tensor, k: int = K, block: int = BLOCK) -> Neighbours:
    """Return precision, recall, density and coverage item by item.

    Args:
        real: (m, d) features, finite, m > k.
        fake: (n, d) features, finite, n > k.
        k: the nearest neighbour that sets the radius, >= 1.
        block: generated items per distance block.

    Raises:
        UserError: k items or fewer, other shapes, NaN or infinity.

    Source: Kynkaanniemi et al. 2019, equations 1 and 2; Naeem et al. 2020, section 3.
    """
    real, fake = pair("real features", real, "generated features", fake, least=k + 1)
    # Ties, e.g. copies of real items, must not hang on rounding: about ten times the error of a distance.
    origin = real[0].double()
    norms = [(rows - origin).square().sum(dim=1).max() for items in (real, fake) for rows in in_float64(items)]
    slack = 1e-12 * torch.stack(norms).max()
    # Each item is its own nearest neighbour at distance 0, hence k + 1.
    real_radii = squared_to_nearest(real, real, k + 1, block) + slack
    fake_radii = squared_to_nearest(fake, fake, k + 1, block) + slack
    return memberships(real, fake, real_radii, fake_radii, k, block)


def off_manifold(real: Tensor, fake: Tensor) -> float:
    """Return the share of generated items farther from all real ones than 99 % of these from their nearest other.

    Args:
        real: (m, d) pixels, m >= 2.
        fake: (n, d) pixels.
    """
    usual = squared_to_nearest(real, real, 2).quantile(0.99)
    return float((squared_to_nearest(fake, real, 1) > usual).double().mean())


_measured: WeakIdKeyDictionary = WeakIdKeyDictionary()
"inputs -> {extractor: neighbours}, so that four metrics cost one computation"


def _compute(inputs: MetricInputs, extractor: str, field: str) -> Score:
    known: dict[str, tuple[int, Neighbours, str]] = _measured.setdefault(inputs, {})
    if extractor not in known:
        real = inputs.features("test", extractor).features
        fake = inputs.features("fake", extractor, inputs.samples).features
        n = min(len(real), len(fake))
        known[extractor] = n, neighbours(real[:n], fake[:n]), _warning(inputs, n)
    n, measured, warning = known[extractor]
    protocol = (
        f"first {n} generated and first {n} test images; k={K}, <=; {inputs.extractor_id(extractor)}; float64"
    )
    return average(getattr(measured, field), protocol, warning if field in ("precision", "density") else "")


def _warning(inputs: MetricInputs, n: int) -> str:
    """Return what casts doubt on features: a classifier's take images that it has never seen for ones it has."""
    share = off_manifold(inputs.real("test", n).flatten(1), inputs.fake(n).flatten(1))
    return "off the manifold: most images are far, in pixels, from all test images" if share > 0.5 else ""


for _field, _summary in (
    ("precision", "share of generated images in a real k=5 ball; Kynkaanniemi et al. 2019"),
    ("recall", "share of real images in a generated k=5 ball; Kynkaanniemi et al. 2019"),
    ("density", "number of real k=5 balls around a generated image / k, may exceed 1; Naeem et al. 2020"),
    ("coverage", "share of real images whose k=5 ball holds a generated image; Naeem et al. 2020"),
):
    register(
        Metric(
            name=_field,
            version=1,
            summary=_summary,
            ability="sample",
            better="higher",
            needs_extractor="features",
            compute=functools.partial(_compute, field=_field),
        )
    )
