"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganbench.metrics import Evidence, Metric, Score, register
from ganbench.metrics.distances import BLOCK
from ganbench.metrics.inputs import pair
from ganbench.metrics.threads import in_threads

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 0
"seed of the subset indices; has nothing to do with the seeds of models"


def _kernel_sum(x: Tensor, y: Tensor, block: int) -> Tensor:
    one = torch.ones((), dtype=x.dtype, device=x.device)
    sums = []
    for rows in x.split(block):
        base = torch.addmm(one, rows, y.T, alpha=1 / x.shape[1])  # (rows, m)
        sums.append(base.square().mul_(base).sum())
    return torch.stack(sums).sum()


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
    n, m, d = len(x), len(y), x.shape[1]
    own_x = _kernel_sum(x, x, block) - ((x.square().sum(dim=1) / d + 1) ** 3).sum()
    own_y = _kernel_sum(y, y, block) - ((y.square().sum(dim=1) / d + 1) ** 3).sum()
    cross = _kernel_sum(x, y, block)
    return float(own_x / (n * (n - 1)) + own_y / (m * (m - 1)) - 2 * cross / (n * m))


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
        return torch.randperm(len(items), generator=generator)[:size].to(items.device)

    drawn = [(draw(x), draw(y)) for _ in range(subsets)]
    values = in_threads(lambda rows: mmd2_unbiased(x[rows[0]], y[rows[1]]), drawn)
    return torch.tensor(values, dtype=torch.float64)


def _kid(evidence: Evidence, extractor: str) -> Score:
    real, fake = pair(
        "test features",
        evidence.features("test", extractor).features,
        "generated features",
        evidence.features("fake", extractor, evidence.samples).features,
        least=2,
    )
    n = min(len(real), len(fake))
    size = min(SUBSET_SIZE, n)
    values = mmd2_of_subsets(fake, real, size=size)
    # Subsets overlap, so std / sqrt(100) would be too small: delete-d jackknife, Shao and Wu 1989.
    std_error = float(values.std(unbiased=False)) * math.sqrt(size / (n - size)) if n > size else math.nan
    protocol = (
        f"mean of {SUBSETS} subsets of {size} from {len(fake)} generated and {len(real)} test images;"
        f" kernel (x.y/d+1)^3, unbiased; {evidence.extractor_id(extractor)}; d={real.shape[1]}; float64"
    )
    detail = "" if n > size else f"no standard error: a subset holds all {n} images"
    return Score(float(values.mean()), std_error, len(fake), protocol, detail)


register(
    Metric(
        "kid",
        1,
        "unbiased MMD^2 of features, cubic kernel; Binkowski et al. 2018",
        "sample",
        "lower",
        "features",
        "",
        _kid,
    )
)
