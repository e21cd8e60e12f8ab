"""Metrics against public libraries: `python -m tests.opponents.metrics`."""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from ganbench.features import extract
from ganbench.features.inception import Inception
from ganbench.metrics import frechet, kernel, neighbours, parzen
from tests.opponents import memory, table
from tests.opponents.table import Comparison

LIBRARIES = (*table.LIBRARIES, "pytorch-fid", "torch-fidelity", "prdc")
TITLE = "Metrics against public libraries"


def features(seed: int, n: int, d: int) -> Tensor:
    """Return correlated, skewed, non-negative features, like those behind a rectifier, float64."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64) / d**0.5
    return (torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + 0.1 * (seed + 1)).relu()


def relative(a: Any, b: Any) -> float:
    """Return the largest difference divided by the largest number of the second answer."""
    a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (a, b))
    return float((a - b).abs().max() / b.abs().max())


def parzen_grid(quick: bool) -> Comparison:
    """Compare the log-likelihoods of a whole grid; scikit-learn does a few queries at one bandwidth."""
    from sklearn.neighbors import KernelDensity

    n, d, asked = (200, 20, 10) if quick else (10_000, 784, 100)
    queries, centres = (torch.rand(n, d, generator=torch.Generator().manual_seed(i)).double() for i in (0, 1))
    grid, chosen = parzen.goodfellow_grid(), 2
    # The tree must stay one leaf: below it scikit-learn drops what it takes to be small.
    density = KernelDensity(bandwidth=float(grid[chosen]), leaf_size=n).fit(centres.numpy())
    return Comparison(
        f"Parzen, {n} queries x {n} centres x {d}, {len(grid)} bandwidths",
        lambda: parzen.log_likelihoods(queries, centres, grid),
        lambda: density.score_samples(queries[:asked].numpy()),
        difference=lambda ours, theirs: relative(ours[chosen, :asked], theirs),
        tolerance=1e-9,
        target=75,
        scale=n / asked * len(grid),
        work=2 * n * n * d,
        speed=partial(table.product_peak, torch.float64),
        note=f"scikit-learn KernelDensity(leaf_size={n}) answered {asked} queries at one bandwidth; its time is"
        f" multiplied by {n // asked} x {len(grid)}",
    )


def frechet_distance(n: int, target: float, quick: bool) -> Comparison:
    """Compare the distance of two sets of features with pytorch-fid's arithmetic."""
    from scipy.linalg import sqrtm

    d = 2048
    if quick:
        n, d = (300, 32) if n > d else (20, 32)
    a, b = features(0, n, d), features(1, n, d)

    def theirs() -> float:
        x, y = a.numpy(), b.numpy()
        shift = x.mean(axis=0) - y.mean(axis=0)
        one, other = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a singular product, told by the row's note
            root = sqrtm(one @ other)
            if not np.isfinite(root).all():
                offset = 1e-6 * np.eye(d)
                root = sqrtm((one + offset) @ (other + offset))
        return float(shift @ shift + np.trace(one) + np.trace(other) - 2 * np.trace(root.real))

    small = n <= d
    if small:  # two factors of n x d multiplied, singular values of n x n
        work, note = 2 * n * n * d + 8 / 3 * n**3, "sqrtm of a singular product is the less exact of the two"
    else:  # two symmetric products, two Cholesky factors, their product, its singular values
        work, note = 2 * n * d * d + 2 / 3 * d**3 + 2 * d**3 + 8 / 3 * d**3, ""
    return Comparison(
        f"Frechet distance, {n} features of {d}",
        lambda: frechet.frechet_distance(a, b),
        theirs,
        difference=relative,
        tolerance=1e-4 if small else 1e-8,
        target=target,
        work=work,
        speed=partial(table.product_peak, torch.float64),
        note=note,
    )


def random_state() -> dict[str, Tensor]:
    """Return random weights under the keys of pytorch-fid's weight file."""
    from pytorch_fid import inception

    with (
        torch.random.fork_rng(devices=[]),
        patch.object(inception, "load_state_dict_from_url", lambda *_, **__: {}),
        patch.object(nn.Module, "load_state_dict", lambda *_: None),
    ):
        torch.manual_seed(0)
        return inception.fid_inception_v3().state_dict()


def inception_features(dtype: torch.dtype, target: float, quick: bool) -> Comparison:
    """Compare the features of grey noise with pytorch-fid's loop over batches of 64."""
    from pytorch_fid import inception
    from torch.utils.data import DataLoader

    n = 2 if quick else 128
    state = random_state()
    network = Inception(state, dtype).eval()
    with patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        theirs_network = inception.InceptionV3().eval()
    images = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def theirs() -> np.ndarray:
        found = np.empty((n, 2048))
        start = 0
        for batch in DataLoader(list(images), batch_size=64):  # type: ignore[arg-type]
            with torch.no_grad():
                part = theirs_network(batch)[0].squeeze(3).squeeze(2).numpy()
            found[start : start + len(part)] = part
            start += len(part)
        return found

    single = dtype == torch.float32
    return Comparison(
        f"Inception features, {n} images, {str(dtype).removeprefix('torch.')}",
        lambda: extract(network, images)[0],
        theirs,
        difference=relative,
        tolerance=1e-4 if single else 2e-2,
        target=target,
        work=11.4e9 * n,
        speed=partial(table.convolution_peak, dtype),
        note="random weights in the same network" + ("" if single else "; the opponent computes in float32"),
    )


def balls(d: int, quick: bool) -> Comparison:
    """Compare precision, recall, density and coverage with prdc."""
    import prdc

    n = 150 if quick else 10_000
    d = max(8, d // 64) if quick else d
    real, fake = features(0, n, d), features(1, n, d) * 1.05

    def theirs() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = prdc.compute_prdc(real.numpy(), fake.numpy(), nearest_k=neighbours.K)
        return [float(found[name]) for name in neighbours.Neighbours._fields]

    return Comparison(
        f"precision, recall, density, coverage, {n} features of {d}",
        lambda: [float(items.mean()) for items in neighbours.neighbours(real, fake)],
        theirs,
        difference=relative,
        tolerance=1e-12,
        target=5,
        work=4 * n * n * d,
        speed=partial(table.product_peak, torch.float64),
        note="the limit counts the distances within a set once",
    )


def kernel_distance(n: int, quick: bool) -> Comparison:
    """Compare KID with torch-fidelity's loop over subsets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import only: other people's deprecated calls
        from torch_fidelity import metric_kid

    d, subsets, size = 2048, 100, 1000
    if quick:
        n, d, subsets, size = n // 100, 16, 5, 15
    x, y = features(0, n, d), features(1, n, d)
    loop = partial(metric_kid.kid_features_to_metric, kid_subset_size=size, verbose=False)

    def difference(_: Tensor, theirs: dict[str, float]) -> float:
        draw = np.random.RandomState(2020)  # torch-fidelity's draws; ours are others, so the answer is made again
        values = []
        for _ in range(subsets):
            rows_x, rows_y = draw.choice(n, size, replace=False), draw.choice(n, size, replace=False)
            values.append(kernel.mmd2_unbiased(x[rows_x], y[rows_y]))
        return relative(math.fsum(values) / subsets, theirs["kernel_inception_distance_mean"])

    pairs = min(4 * subsets * size**2, 4 * n**2) / 2 + min(2 * subsets * size**2, 2 * n**2) / 2
    return Comparison(
        f"KID, {subsets} subsets of {size} from {n} features of {d}",
        lambda: kernel.mmd2_of_subsets(x, y, subsets, size),
        lambda: loop(x, y, kid_subsets=subsets),
        difference=difference,
        tolerance=1e-9,
        target=5,
        work=2 * d * pairs,
        speed=partial(table.product_peak, torch.float64),
        note="both draw their own subsets; the answers are compared on the opponent's",
    )


COMPARISONS: dict[str, Callable[[bool], Comparison]] = {
    "parzen": parzen_grid,
    "fid-10k": partial(frechet_distance, 10_000, 8),
    "fid-1k": partial(frechet_distance, 1000, 40),
    "inception": partial(inception_features, torch.float32, 1.8),
    "inception-bf16": partial(inception_features, torch.bfloat16, 3.5),
    "prdc-64": partial(balls, 64),
    "prdc-2048": partial(balls, 2048),
    "kid-10k": partial(kernel_distance, 10_000),
    "kid-3k": partial(kernel_distance, 3000),
}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if an answer differs from the opponent's or memory exceeds its bound."""
    parser = argparse.ArgumentParser(prog="python -m tests.opponents.metrics", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed pairs of each comparison")
    parser.add_argument("--only", action="append", choices=COMPARISONS, help="measure this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one pair: shows that all of it works")
    parser.add_argument("--out", type=Path, help="folder for the table and its raw rows")
    parser.add_argument("--memory", action="store_true", help="print the peak memory of the metrics instead")
    parser.add_argument("--n", type=int, default=100_000, help="features per side of --memory")
    parser.add_argument("--queries", type=int, default=2000, help="of --memory, where pairs would take long")
    chosen = parser.parse_args(arguments)
    if chosen.memory:
        peaks = [memory.measure(name, chosen.n, chosen.queries) for name in memory.USES]
        page = memory.markdown(peaks, chosen.n, chosen.queries, table.machine())
        print(page)
        if chosen.out:
            table.write(chosen.out, "memory", page, memory.rows(peaks))
        return 0 if all(peak.used <= peak.bound for peak in peaks) else 1
    names = chosen.only or list(COMPARISONS)
    measured = []
    for name in names:
        comparison = COMPARISONS[name](chosen.quick)
        measured.append(table.measure(comparison, 1 if chosen.quick else chosen.repeats))
        print(f"{measured[-1].ratio:8.1f} x  {comparison.name}", flush=True)
        page = table.markdown(TITLE, measured, LIBRARIES)
        if chosen.out:  # after each row, so that a run that is broken off leaves what it has
            table.write(chosen.out, "metrics", page, table.rows(measured))
    print("\n" + page)
    return 0 if all(result.agrees for result in measured) else 1


if __name__ == "__main__":
    raise SystemExit(main())
