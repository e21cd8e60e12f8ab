"""Agreement with torch-fidelity, pytorch-fid and prdc on the same features; see docs/metrics.md."""

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganbench.metrics import frechet, inception_score, kernel, neighbours
from ganbench.metrics.numerics import moments

PRDC = ("precision", "recall", "density", "coverage")


def features(seed: int, n: int, d: int) -> Tensor:
    """Return correlated, skewed, non-negative features, like those behind a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64) / d**0.5
    return (torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + 0.1 * (seed + 1)).relu()


REAL, FAKE = features(0, 600, 64), features(1, 500, 64)


@pytest.fixture(scope="module")
def fidelity():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at import only: other people's deprecated calls
        return pytest.importorskip("torch_fidelity")


def test_fid_with_torch_fidelity(fidelity) -> None:
    from torch_fidelity import metric_fid

    laws = [metric_fid.fid_features_to_statistics(x) for x in (FAKE, REAL)]
    theirs = metric_fid.fid_statistics_to_metric(*laws, verbose=False)["frechet_inception_distance"]
    ours = frechet.frechet_distance(FAKE, REAL)
    assert theirs > 0.1
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_kid_with_torch_fidelity(fidelity) -> None:
    from torch_fidelity import metric_kid

    real = REAL[: len(FAKE)]  # it takes subsets of equal size only; one subset of all items is the full estimate
    theirs = metric_kid.kid_features_to_metric(FAKE, real, kid_subsets=1, kid_subset_size=len(FAKE), verbose=False)
    ours = kernel.mmd2_unbiased(FAKE, real)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_inception_score_with_torch_fidelity(fidelity) -> None:
    from torch_fidelity import metric_isc

    logits = 5 * features(2, 505, 10)
    theirs = metric_isc.isc_features_to_metric(logits, splits=10, shuffle=False)
    ours = inception_score.inception_scores(logits)
    assert theirs["inception_score_mean"] > 1.5
    assert float(ours.mean()) == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert float(ours.std(unbiased=False)) == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_precision_and_recall_with_torch_fidelity(fidelity) -> None:
    from torch_fidelity import metric_prc

    theirs = metric_prc.prc_features_to_metric(
        FAKE, REAL, prc_neighborhood=5, prc_batch_size=100, save_cpu_ram=True, verbose=False
    )
    ours = neighbours.neighbours(REAL, FAKE, k=5)
    # It averages in float32.
    assert float(ours.precision.mean()) == pytest.approx(theirs["precision"], rel=1e-6)
    assert float(ours.recall.mean()) == pytest.approx(theirs["recall"], rel=1e-6)


def test_statistics_files_of_pytorch_fid(tmp_path: Path) -> None:
    path = tmp_path / "theirs.npz"
    np.savez_compressed(path, mu=REAL.mean(0).numpy(), sigma=np.cov(REAL.numpy(), rowvar=False))  # save_fid_stats
    ours = frechet.frechet_distance(FAKE, REAL)
    stream = moments.Moments()
    for batch in FAKE.split(50):
        stream.add(batch)
    law = moments.read_statistics(path)
    found = frechet.frechet_distance_from_moments(stream.mean(), stream.covariance(), *law)
    assert found == pytest.approx(ours, rel=1e-9)


def test_fid_with_pytorch_fid(tmp_path: Path) -> None:
    from scipy.linalg import sqrtm

    if "disp" not in inspect.signature(sqrtm).parameters:
        pytest.skip("this SciPy has no sqrtm(disp=), which pytorch-fid calls")
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    laws = []
    for name, x in (("fake", FAKE), ("real", REAL)):
        path = tmp_path / f"{name}.npz"
        moments.write_statistics(path, x.mean(0), x.T.cov())
        laws += fid_score.compute_statistics_of_path(str(path), None, 50, 64, "cpu")  # their reader, our file
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*disp.*", category=DeprecationWarning)
        theirs = float(fid_score.calculate_frechet_distance(*laws))
    ours = frechet.frechet_distance(FAKE, REAL)
    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2])
def test_neighbours_with_prdc(k: int, shift: float) -> None:
    prdc = pytest.importorskip("prdc")
    fake = FAKE * (1 + shift)
    theirs = prdc.compute_prdc(REAL.numpy(), fake.numpy(), nearest_k=k)
    ours = neighbours.neighbours(REAL, fake, k=k)
    for name in PRDC:
        assert float(getattr(ours, name).mean()) == pytest.approx(float(theirs[name]), abs=1e-12)
    assert 0 < theirs["coverage"] < 1
