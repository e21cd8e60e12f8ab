"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.blocks import BLOCK, panels
from ganbench.metrics.numerics.checks import pair
from ganbench.metrics.numerics.threads import in_threads

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 0
"seed of the subset indices; has nothing to do with the seeds of models"


def _sums(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor, block: int) -> Tensor:
    """Return the sum of k(x_i, y_j) over all pairs of each subset, (s,), i != j if x is y.

    Args:
        x: (n, d); y: (m, d).
        in_x: (n, s) and in_y: (m, s), float64: 1 where an item belongs to a subset, else 0.
        block: rows of the kernel matrix held at once.
    """
    total = torch.zeros(in_x.shape[1], dtype=torch.float64, device=x.device)
    one = torch.ones((), dtype=torch.float64, device=x.device)
    for columns in panels(y):
        panel = y[columns].double()

        def of_block(start: int, columns: slice = columns, panel: Tensor = panel) -> Tensor:
            # A set against itself is symmetric: pairs above the diagonal stand for all others too.
            first = max(start, columns.start) if x is y else columns.start
            rows, right = slice(start, start + block), slice(first, columns.stop)
            base = torch.addmm(one, x[rows].double(), panel[first - columns.start :].T, alpha=1 / x.shape[1])
            terms = base.square().mul_(base)  # (rows, columns)
            if x is y:
                terms.triu_(start - first + 1)
            return ((terms @ in_y[right]) * in_x[rows]).sum(dim=0)

        last = columns.stop if x is y else len(x)
        total += torch.stack(in_threads(of_block, range(0, last, block))).sum(dim=0)
    return 2 * total if x is y else total


def _mmd2(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor, block: int) -> Tensor:
    """Return the unbiased estimate of each subset, (s,); see `_sums`."""
    n, m = in_x.sum(dim=0), in_y.sum(dim=0)
    own_x = _sums(x, x, in_x, in_x, block) / (n * (n - 1))
    own_y = _sums(y, y, in_y, in_y, block) / (m * (m - 1))
    return own_x + own_y - 2 * _sums(x, y, in_x, in_y, block) / (n * m)


def _all(items: Tensor) -> Tensor:
    """Return the membership of all items in one subset, (n, 1)."""
    return torch.ones(len(items), 1, dtype=torch.float64, device=items.device)


def mmd2_unbiased(x: Tensor, y: Tensor, block: int = BLOCK) -> float:
    """Return the unbiased estimate of MMD^2 with kernel (x.y / d + 1)^3; it can be negative.

    Args:
        x: (n, d), n >= 2, finite.
        y: (m, d), m >= 2, finite.
        block: rows of the kernel matrix held at once.

    Raises:
        UserError: fewer than 2 items, other shapes, NaN or infinity.

    Source: Gretton et al. 2012, equation 3; Binkowski et al. 2018, section 4.
    """
    x, y = pair("features", x, "other features", y, least=2)
    return float(_mmd2(x, y, _all(x), _all(y), block))


def mmd2_of_subsets(x: Tensor, y: Tensor, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> Tensor:
    """Return the estimate on random subsets without replacement, (subsets,) float64; always the same subsets.

    Args:
        x, y: as in `mmd2_unbiased`, each with at least `size` rows.
        subsets: number of draws, >= 1.
        size: rows drawn from each side, >= 2.

    Raises:
        UserError: as in `mmd2_unbiased`, or fewer than `size` rows.
    """
    x, y = pair("features", x, "other features", y, least=size)
    generator = torch.Generator().manual_seed(SEED)

    def draw(items: Tensor) -> Tensor:
        return torch.randperm(len(items), generator=generator)[:size].clone().to(items.device)

    drawn = [(draw(x), draw(y)) for _ in range(subsets)]
    # In small samples subsets share most pairs: one pass over all of them, if that multiplies less.
    if (len(x) + len(y)) ** 2 * (x.shape[1] + subsets) < subsets * (2 * size) ** 2 * x.shape[1]:
        rows_x, rows_y = (torch.stack(rows, dim=1) for rows in zip(*drawn, strict=True))  # (size, subsets)
        in_x, in_y = (
            torch.zeros(len(items), subsets, dtype=torch.float64, device=items.device).scatter_(0, rows, 1.0)
            for items, rows in ((x, rows_x), (y, rows_y))
        )
        return _mmd2(x, y, in_x, in_y, BLOCK)

    def of_subset(rows: tuple[Tensor, Tensor]) -> Tensor:
        part_x, part_y = x[rows[0]], y[rows[1]]
        return _mmd2(part_x, part_y, _all(part_x), _all(part_y), BLOCK)

    return torch.cat(in_threads(of_subset, drawn))


def _kid(inputs: MetricInputs, extractor: str) -> Score:
    real, fake = pair(
        "test features",
        inputs.features("test", extractor).features,
        "generated features",
        inputs.features("fake", extractor, inputs.samples).features,
        least=2,
    )
    n = min(len(real), len(fake))
    size = min(SUBSET_SIZE, n)
    values = mmd2_of_subsets(fake, real, size=size)
    # Subsets overlap, so std / sqrt(100) would be too small: delete-d jackknife, Shao and Wu 1989.
    std_error = float(values.std(unbiased=False)) * math.sqrt(size / (n - size)) if n > size else math.nan
    protocol = (
        f"mean of {SUBSETS} subsets of {size} from {len(fake)} generated and {len(real)} test images;"
        f" kernel (x.y/d+1)^3, unbiased; {inputs.extractor_id(extractor)}; d={real.shape[1]}; float64"
    )
    detail = "" if n > size else f"no standard error: a subset holds all {n} images"
    return Score(float(values.mean()), std_error, len(fake), protocol, detail)


register(
    Metric(
        name="kid",
        version=1,
        summary="unbiased MMD^2 of features, cubic kernel; Binkowski et al. 2018",
        ability="sample",
        better="lower",
        needs_extractor="features",
        compute=_kid,
    )
)
