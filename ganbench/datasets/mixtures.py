"""Sets of vectors with known modes: rings, grids and a spiral in two dimensions, clusters in 100 and 1200."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganbench.datasets import Dataset, Source, register, splits
from ganbench.datasets.gaussians import Ellipsoids, Mixture, SwissRoll
from ganbench.distributions.scalar import ComponentDistribution

SIZES = (100_000, 10_000, 10_000)
SMALL = (20_000, 2_500, 2_500)
CLUSTERS, OF_EACH = 10, 1000
LEVELS = (-1.0, -0.5, 0.0, 0.5, -2.0, -2.5, 10.0, 0.25, -13.0, -5.5)


def ring(radius: float, std: float) -> Mixture:
    """Return 8 Gaussians of the same width at equal angles."""
    angles = torch.arange(8, dtype=torch.float64) * (2 * torch.pi / 8)
    return Mixture(radius * torch.stack([angles.cos(), angles.sin()], 1), _both(std))


def grid(spacing: float, std: float) -> Mixture:
    """Return 25 Gaussians of the same width on a square grid around the origin."""
    line = spacing * torch.arange(-2, 3, dtype=torch.float64)
    return Mixture(torch.cartesian_prod(line, line), _both(std))


def _both(std: float) -> Tensor:
    return torch.full((2,), std, dtype=torch.float64)


def lines() -> Mixture:
    """Return 10 Gaussians c (1, ..., 1) in 1200 dimensions that vary in the first 700 only; VEEGAN's code."""
    stds = (torch.arange(1200) < 700).double()
    return Mixture(torch.tensor(LEVELS, dtype=torch.float64)[:, None].expand(-1, 1200), stds)


def planes(dimensions: int = 100) -> Ellipsoids:
    """Return the clusters A(z + m), z normal in two dimensions, with A and m of each cluster drawn once.

    Source: andrewgordonwilson/bayesgan, the synthetic example, with numpy's seed 1234.
    """
    random = np.random.RandomState(1234)
    drawn = [(5 * random.randn(2), 5 * random.randn(dimensions, 2)) for _ in range(CLUSTERS)]
    factors = torch.stack([torch.from_numpy(a) for _, a in drawn])
    centres = torch.stack([torch.from_numpy(m) for m, _ in drawn])
    means = (factors @ centres[:, :, None])[:, :, 0]
    return Ellipsoids(means, factors, torch.zeros(dimensions)).standardised()


def load(
    name: str, law: Callable[[], ComponentDistribution], sizes: tuple[int, int, int], root: Path, download: bool
) -> Dataset:
    """Return independent draws of a law as training, validation and test split; needs no file."""
    return splits.drawn(name, law(), sizes)


def load_planes(root: Path, download: bool) -> Dataset:
    """Return 1,000 training vectors of each cluster, and 2,500 + 2,500 held-out draws from the same clusters."""
    law = planes()
    data = splits.drawn("mixture-100d", law, (1, *SMALL[1:]))
    random = np.random.RandomState(0)
    labels = torch.from_numpy(random.permutation(np.repeat(np.arange(CLUSTERS), OF_EACH)).astype(np.int64))
    images = data.images | {"train": law.of_components(labels, random)}
    return Dataset(data.name, images, data.labels | {"train": labels}, CLUSTERS, law)


for _name, _what, _make, _sizes in (
    ("ring", "8 Gaussians, radius 1, std .01; VEEGAN", partial(ring, 1.0, 0.01), SIZES),
    ("grid", "25 Gaussians, spacing 2, std .05; VEEGAN", partial(grid, 2.0, 0.05), SIZES),
    ("8gaussians", "8 Gaussians, radius 1.414; WGAN-GP", partial(ring, 2 / 1.414, 0.02 / 1.414), SIZES),
    ("25gaussians", "25 Gaussians, spacing .707; WGAN-GP", partial(grid, 2 / 2.828, 0.05 / 2.828), SIZES),
    ("swissroll", "a noisy spiral; WGAN-GP", SwissRoll, SIZES),
    ("mixture-1200d", "10 Gaussians, flat in 500 of 1200 dimensions; VEEGAN", lines, SMALL),
):
    register(Source(_name, f"{sum(_sizes):,} vectors: {_what}; known law", partial(load, _name, _make, _sizes)))
register(Source("mixture-100d", "15,000 vectors: 10 flat clusters in 100 dimensions; Bayesian GAN", load_planes))
