"""Metric mathematics against closed forms, and the protocols on made-up inputs."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ganbench import registry
from ganbench.errors import UserError
from ganbench.metrics import (
    Features,
    authenticity,
    frechet,
    inception_score,
    kernel,
    neighbours,
    parzen,
    reconstruction,
)
from ganbench.metrics.numerics import blocks, checks, moments, threads

BLOCKS = (7, 64, 1000)
PRDC = ("precision", "recall", "density", "coverage")
ON_FEATURES = ("fid", "kid", "inception-score", *PRDC)
ON_PIXELS = ("parzen-goodfellow", "parzen-fgan", "parzen-fine", "authenticity", "reconstruction-mse")


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(eq=False)
class FakeInputs:
    """MetricInputs made of tensors; the extractor 'flat' takes the first 3 pixels as features and as logits."""

    splits: dict[str, Tensor]
    generated: Tensor
    samples: int = 40

    def real(self, split, n=None):
        return self.splits[split][:n]

    def fake(self, n=None):
        return self.generated.repeat(math.ceil((n or self.samples) / len(self.generated)), 1, 1, 1)[
            : n or self.samples
        ]

    def features(self, source, extractor, n=None):
        images = self.fake(n) if source == "fake" else self.real(source, n)
        values = images.flatten(1)[:, :3].double()
        return Features(values, None if extractor == "blind" else 9 * values)

    def extractor_id(self, extractor):
        return f"{extractor}@sha256:0"

    def call(self, ability, source):
        assert ability == "reconstruct"
        return self.splits[source] - 0.1

    def to_pixels(self, x):
        return x.clamp(0, 1)


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> FakeInputs:
    monkeypatch.setattr(parzen, "SAMPLES", 400)
    monkeypatch.setattr(parzen, "FGAN_SAMPLES", 400)
    sizes = {"train": 60, "validation": 30, "test": 50}
    splits = {name: uniform(i, n, 1, 2, 3).float() for i, (name, n) in enumerate(sizes.items())}
    return FakeInputs(splits, uniform(9, 200, 1, 2, 3).float())


# Parzen


def test_parzen_equals_the_direct_sum_in_784_dimensions() -> None:
    x, c, sigmas = uniform(0, 30, 784), uniform(1, 200, 784), torch.tensor([0.1, 0.2, 1.0]).double()
    squared = (x[:, None] - c).square().sum(2)
    for sigma, found in zip(sigmas, parzen.log_likelihoods(x, c, sigmas), strict=True):
        direct = torch.logsumexp(-squared / (2 * sigma**2), 1) - math.log(200)
        direct -= 784 * torch.log(sigma * math.sqrt(2 * math.pi))
        assert (found - direct).abs().max() < 1e-6
        assert direct.abs().max() > 10  # the premise: far from where a plain sum would do


def test_parzen_far_from_every_centre_is_finite_and_right() -> None:
    far = parzen.log_likelihoods(torch.full((1, 784), 1.0), torch.zeros(1, 784), torch.tensor([0.01]))
    expected = -784 / (2 * 0.01**2) - 784 * math.log(0.01 * math.sqrt(2 * math.pi))
    assert float(far) == pytest.approx(expected, rel=1e-7)  # 0.01 is a float32 here


def test_parzen_where_nearly_every_kernel_underflows() -> None:
    # Exponents below the smallest float are cut, which must not show beside the nearest centre.
    x, c = uniform(0, 5, 100), uniform(1, 2000, 100)
    squared = (x[:, None] - c).square().sum(2)
    nearest = squared.topk(2, largest=False).values.T
    assert ((nearest[1] - nearest[0]) / 2e-6 > 700).all()
    found = parzen.log_likelihoods(x, c, torch.tensor([1e-3], dtype=torch.float64))[0]
    expected = -nearest[0] / 2e-6 - math.log(2000) - 100 * math.log(1e-3 * math.sqrt(2 * math.pi))
    assert torch.allclose(found, expected, rtol=1e-12)


def test_parzen_drops_by_d_ln_2_when_data_and_bandwidth_double() -> None:
    x, c, sigmas = uniform(0, 20, 784), uniform(1, 50, 784), parzen.goodfellow_grid()
    drop = parzen.log_likelihoods(x, c, sigmas) - parzen.log_likelihoods(2 * x - 1, 2 * c - 1, 2 * sigmas)
    assert (drop - 784 * math.log(2)).abs().max() < 1e-8


def test_parzen_bandwidth_choice_on_a_gaussian() -> None:
    # One centre at 0 and queries from Normal(0, s^2): the mean log-likelihood is largest at sigma = s.
    queries = 0.1678 * normal(0, 4000, 2)
    means = parzen.log_likelihoods(queries, torch.zeros(1, 2), parzen.goodfellow_grid()).mean(1)
    assert float(parzen.goodfellow_grid()[means.argmax()]) == pytest.approx(0.1668, abs=1e-4)


def test_parzen_grids() -> None:
    goodfellow = [0.1, 0.129, 0.167, 0.215, 0.278, 0.359, 0.464, 0.599, 0.774, 1.0]
    assert parzen.goodfellow_grid().tolist() == pytest.approx(goodfellow, abs=6e-4)
    fine = parzen.fine_grid()
    assert float(fine[0]) == pytest.approx(0.05) and float(fine[-1]) == 1
    assert (fine[1:] / fine[:-1]).max() <= 1.04
    published = torch.logspace(-1.2, 0, 25, dtype=torch.float64)
    assert torch.allclose(parzen.fold_grid()[-25:], published, rtol=1e-12)


def test_samples_that_vary_little_get_a_bandwidth_inside_the_grid(inputs: FakeInputs) -> None:
    """A generator of std 0.01 around one image; the paper's least bandwidth is 0.063."""
    inputs.generated = 0.5 + 0.01 * torch.randn(400, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    score = registry.metrics.get("parzen-fgan").compute(inputs, "")
    assert 0.002 < float(score.detail.removeprefix("sigma=")) < 0.02


def test_held_out_folds_leave_the_own_fold_out() -> None:
    x, sigmas = uniform(0, 10, 3), torch.tensor([0.2, 0.4])
    found = parzen.held_out_log_likelihoods(x, sigmas)  # folds of 4, 3, 3
    expected = parzen.log_likelihoods(x[4:7], torch.cat([x[:4], x[7:]]), sigmas)
    assert torch.allclose(found[:, 4:7], expected, rtol=1e-12) and found.shape == (2, 10)


@pytest.mark.parametrize("bad", [[0.0], [-1.0], [math.nan], []])
def test_parzen_refuses_bandwidths(bad: list[float]) -> None:
    with pytest.raises(UserError, match="bandwidth"):
        parzen.log_likelihoods(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor(bad))


def mnist(split: str) -> Tensor:
    root = os.environ.get("GANBENCH_DATA")
    if not root:
        pytest.skip("GANBENCH_DATA is not set")
    file = Path(root) / "MNIST" / "raw" / f"{split}-images-idx3-ubyte"
    if not file.is_file():
        pytest.skip(f"{file} is missing")
    return torch.from_numpy(np.fromfile(file, np.uint8, offset=16).reshape(-1, 784)).double() / 255


@pytest.mark.data
def test_parzen_of_9000_real_digits_is_262_nats() -> None:
    images = mnist("t10k")[torch.randperm(10_000, generator=torch.Generator().manual_seed(0))]
    sigmas = torch.tensor([0.16, 0.17, 0.18]).double()
    found = parzen.log_likelihoods(images[9000:], images[:9000], sigmas)
    error = float(found[1].std()) / math.sqrt(1000)
    assert 5 < error < 7
    # 262 was measured with other held-out images: two draws differ by sqrt(2) errors, 3 deviations allowed.
    assert float(found[1].mean()) == pytest.approx(262, abs=3 * math.sqrt(2) * error)
    assert int(found.mean(1).argmax()) == 1


# Frechet


def test_frechet_closed_forms() -> None:
    a, b = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 1.0, 0.0])
    shift = torch.tensor([3.0, 0.0, 4.0])
    found = frechet.frechet_distance_from_moments(torch.zeros(3), a.diag(), shift, b.diag())
    assert found == pytest.approx(25 + 1 + 1 + 9, rel=1e-12)  # |shift|^2 + sum (sqrt a - sqrt b)^2
    x = normal(0, 500, 6)
    assert frechet.frechet_distance(x, x + 2) == pytest.approx(24, rel=1e-12)
    sigma = x.T.cov()
    expected = sigma.trace() * 4  # scaling by 3: (3 - 1)^2 tr S
    assert frechet.frechet_distance(x - x.mean(0), 3 * (x - x.mean(0))) == pytest.approx(
        float(expected), rel=1e-12
    )


@pytest.mark.parametrize("shape", [(200, 20), (12, 30)])
def test_frechet_identity_symmetry_invariance(shape: tuple[int, int]) -> None:
    a, b = normal(0, *shape), 2 * normal(1, *shape) + 0.3
    rotation = torch.linalg.qr(normal(2, shape[1], shape[1])).Q
    value = frechet.frechet_distance(a, b)
    assert value > 1
    assert frechet.frechet_distance(a, a) < 1e-11
    assert frechet.frechet_distance(a, a.flip(0)) < 1e-11
    assert frechet.frechet_distance(b, a) == pytest.approx(value, rel=1e-12)
    assert frechet.frechet_distance(a @ rotation + 5, b @ rotation + 5) == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 200, 16), (40, 30, 64), (40, 300, 64)])
def test_frechet_of_features_equals_frechet_of_moments_and_sqrtm(n: int, m: int, d: int) -> None:
    from scipy.linalg import sqrtm

    a, b = normal(0, n, d), 1.5 * normal(1, m, d) + 0.2
    laws = a.mean(0), a.T.cov(), b.mean(0), b.T.cov()
    value = frechet.frechet_distance(a, b)
    assert frechet.frechet_distance_from_moments(*laws) == pytest.approx(value, rel=1e-9)
    if n > d and m > d:  # sqrtm of a singular product is not reliable
        root = sqrtm(laws[1].numpy() @ laws[3].numpy())
        reference = float((laws[0] - laws[2]).square().sum() + laws[1].trace() + laws[3].trace())
        assert value == pytest.approx(reference - 2 * float(np.trace(root).real), rel=1e-8)


def test_frechet_jackknife_is_the_spread_of_fresh_samples() -> None:
    real = frechet.gaussian_of_features(normal(0, 2000, 4))
    fakes = [normal(seed, 400, 4) * 1.5 for seed in range(1, 41)]
    spread = torch.tensor([frechet.distance(real, frechet.gaussian_of_features(x)) for x in fakes]).std()
    errors = torch.tensor([frechet._jackknife(real, x) for x in fakes])
    # 10 groups: each error has a relative deviation of 1/sqrt(18) = 0.24, the spread of 40 one of 0.11.
    assert float(errors.mean()) == pytest.approx(float(spread), rel=0.35)


def test_moments_stream_and_file(tmp_path: Path) -> None:
    x = normal(0, 101, 5) + 1e4  # an offset that a sum of squares in float32 would not survive
    for batch in BLOCKS:
        stream = moments.Moments()
        for part in x.split(batch):
            stream.add(part)
        assert stream.n == 101
        assert torch.allclose(stream.mean(), x.mean(0), rtol=1e-14)
        assert torch.allclose(stream.covariance(), x.T.cov(), rtol=1e-12, atol=1e-10)  # eps * offset = 1e-12
    moments.write_statistics(tmp_path / "s.npz", stream.mean(), stream.covariance())
    mean, covariance = moments.read_statistics(tmp_path / "s.npz")
    assert torch.equal(mean, stream.mean()) and torch.equal(covariance, stream.covariance())
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    np.savez(tmp_path / "other.npz", x=np.zeros(2))
    for name in ("bad.npz", "other.npz", "none.npz"):
        with pytest.raises(UserError, match="mu and sigma"):
            moments.read_statistics(tmp_path / name)
    with pytest.raises(UserError, match="at least 2"):
        moments.Moments().covariance()


# Kernel


def test_mmd2_equals_the_double_loop() -> None:
    x, y = normal(0, 6, 3), normal(1, 5, 3) + 1

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    own_x = sum(k(x[i], x[j]) for i in range(6) for j in range(6) if i != j) / 30
    own_y = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    cross = sum(k(a, b) for a in x for b in y) / 30
    assert kernel.mmd2_unbiased(x, y) == pytest.approx(own_x + own_y - 2 * cross, rel=1e-12)


def test_mmd2_is_unbiased() -> None:
    values = torch.tensor([kernel.mmd2_unbiased(normal(i, 50, 4), normal(1000 + i, 50, 4)) for i in range(300)])
    assert abs(float(values.mean())) < 4 * float(values.std()) / math.sqrt(300)
    assert float(values.min()) < 0 < float(values.max())
    assert kernel.mmd2_unbiased(normal(0, 50, 4), normal(1, 50, 4) + 1) > 0.5


def test_subsets_are_the_same_every_time_and_their_mean_is_the_full_estimate() -> None:
    x, y = normal(0, 300, 4), normal(1, 400, 4) + 0.5
    torch.manual_seed(1)
    first = kernel.mmd2_of_subsets(x, y, subsets=200, size=100)
    torch.manual_seed(2)
    assert torch.equal(first, kernel.mmd2_of_subsets(x, y, subsets=200, size=100))
    error = float(first.std()) / math.sqrt(200)
    assert float(first.mean()) == pytest.approx(kernel.mmd2_unbiased(x, y), abs=4 * error)


@pytest.mark.parametrize(("n", "d"), [(40, 64), (400, 8)])
def test_subsets_at_once_and_one_by_one_are_the_estimate_of_each_subset(n: int, d: int) -> None:
    x, y = normal(0, n, d), normal(1, n + 5, d) + 0.5
    subsets, size = 50, 20
    at_once = (2 * n + 5) ** 2 * (d + subsets) < subsets * (2 * size) ** 2 * d
    assert at_once == (n == 40)  # the premise: both ways are tried
    generator = torch.Generator().manual_seed(kernel.SEED)
    found = kernel.mmd2_of_subsets(x, y, subsets, size)
    for value in found:
        rows_x = torch.randperm(n, generator=generator)[:size]
        rows_y = torch.randperm(n + 5, generator=generator)[:size]
        assert float(value) == pytest.approx(kernel.mmd2_unbiased(x[rows_x], y[rows_y]), rel=1e-11)


def test_a_dimension_without_variance_changes_nothing() -> None:
    a, b = normal(0, 200, 6), 1.5 * normal(1, 200, 6) + 0.2
    flat = torch.full((200, 1), 0.3, dtype=torch.float64)
    wide = [torch.cat([x, flat, x[:, :1]], 1) for x in (a, b)]  # and one that repeats another
    found = frechet.frechet_distance(*wide)
    twice = frechet.frechet_distance_from_moments(*(y for x in wide for y in (x.mean(0), x.T.cov())))
    items = [frechet.Gaussian(x.mean(0), (x - x.mean(0)) / math.sqrt(199)) for x in wide]
    assert found == pytest.approx(frechet.distance(*items), rel=1e-9)
    assert twice == pytest.approx(found, rel=1e-9)


# Inception score


def test_inception_score_extremes() -> None:
    sure = 1e4 * torch.eye(5).repeat(20, 1)
    assert inception_score.inception_scores(sure, 4).tolist() == pytest.approx([5.0] * 4, rel=1e-12)
    assert inception_score.inception_scores(torch.zeros(40, 5)).tolist() == pytest.approx([1.0] * 10, rel=1e-12)
    collapsed = 1e4 * torch.eye(5)[:1].repeat(40, 1)
    assert inception_score.inception_scores(collapsed).tolist() == pytest.approx([1.0] * 10, rel=1e-12)


# Neighbours


def test_neighbours_extremes() -> None:
    x = normal(0, 60, 4)
    far = neighbours.neighbours(x, x + 100)
    assert [float(items.sum()) for items in far] == [0, 0, 0, 0]
    same = neighbours.neighbours(torch.full((20, 3), 0.1), torch.full((20, 3), 0.1))
    assert [float(items.mean()) for items in same] == [1, 1, 20 / 5, 1]
    copies = neighbours.neighbours(x, x.flip(0))
    # Each ball holds its own item and 5 others, the fifth on the sphere: density 6 / 5.
    assert [float(items.mean()) for items in copies] == pytest.approx([1, 1, 1.2, 1], rel=1e-12)


def test_features_blind_to_what_is_odd_about_an_image_carry_a_warning(inputs: FakeInputs) -> None:
    for field, warned in (("precision", True), ("density", True), ("recall", False), ("coverage", False)):
        metric = registry.metrics.get(field)
        inputs.generated = inputs.splits["train"].clone()
        assert metric.compute(inputs, "flat").detail == ""
        odd = replace(inputs, generated=inputs.generated.clone())
        odd.generated[:, :, 1] += 3  # the extractor sees the first row only
        score = metric.compute(odd, "flat")
        assert score.value == metric.compute(inputs, "flat").value > 0
        assert ("off the manifold" in score.detail) == warned


def test_authenticity_of_copies_is_0_and_of_far_images_is_1() -> None:
    train = uniform(0, 80, 30)
    train[1] = train[0]  # a duplicate, whose nearest other item is at distance 0
    assert authenticity.authentic(train.flip(0), train).sum() == 0
    assert authenticity.authentic(train[:9] + 9, train).mean() == 1
    assert authenticity.authentic(train[2:11] + 1e-6, train).mean() == 0


def test_authenticity_equals_the_definition() -> None:
    train, fake = uniform(0, 70, 3), uniform(1, 90, 3)
    own = torch.cdist(train, train).fill_diagonal_(torch.inf).amin(1)
    gap, index = torch.cdist(fake, train).min(1)
    found = authenticity.authentic(fake, train)
    assert torch.equal(found, (gap > own[index]).double()) and 0.1 < float(found.mean()) < 0.9


# All


@pytest.mark.parametrize("cores", [1, 3])
def test_results_do_not_depend_on_the_threads_and_their_number_stays(cores: int) -> None:
    x, y = uniform(0, 600, 20), uniform(1, 550, 20) * 0.9
    calls = [
        lambda: parzen.held_out_log_likelihoods(x, parzen.fold_grid()),
        lambda: neighbours.neighbours(x, y).density,
        lambda: kernel.mmd2_of_subsets(x, y, subsets=5, size=300),
        lambda: torch.tensor(
            [frechet.frechet_distance(x, y), frechet._jackknife(frechet.gaussian_of_features(x), y)],
            dtype=torch.float64,
        ),
    ]
    expected = [call() for call in calls]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(cores)
        found = [call() for call in calls]
        with pytest.raises(ZeroDivisionError):
            threads.in_threads(lambda i: 1 // i, [1, 0])
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=0)


ON_TENSORS = {
    "parzen": lambda a, b: parzen.log_likelihoods(a, b, parzen.goodfellow_grid()),
    "folds": lambda a, b: parzen.held_out_log_likelihoods(b, parzen.goodfellow_grid()),
    "frechet": frechet.frechet_distance,
    "jackknife": lambda a, b: frechet._jackknife(frechet.gaussian_of_features(a), b),
    "mmd2": kernel.mmd2_unbiased,
    "kid": lambda a, b: kernel.mmd2_of_subsets(a, b, subsets=5, size=60),
    "neighbours": neighbours.neighbours,
    "authentic": authenticity.authentic,
    "logits": lambda a, b: inception_score.inception_scores(b),
    "errors": reconstruction.squared_errors,
}


@pytest.mark.parametrize("block", BLOCKS)
def test_results_do_not_depend_on_the_block(block: int) -> None:
    x, y, sigmas = uniform(0, 300, 20), uniform(1, 250, 20) * 0.9, torch.tensor([0.1, 0.5])

    def close(a: Tensor, b: Tensor) -> None:
        assert ((a - b).abs() <= 1e-12 * b.abs()).all()

    close(parzen.log_likelihoods(x, y, sigmas, block=block), parzen.log_likelihoods(x, y, sigmas, block=300))
    close(
        parzen.held_out_log_likelihoods(x, sigmas, block=block),
        parzen.held_out_log_likelihoods(x, sigmas, block=300),
    )
    for found, expected in zip(
        neighbours.neighbours(x, y, block=block), neighbours.neighbours(x, y, block=300), strict=True
    ):
        assert torch.equal(found, expected)
    assert torch.equal(authenticity.authentic(x, y, block=block), authenticity.authentic(x, y, block=300))
    assert kernel.mmd2_unbiased(x, y, block=block) == pytest.approx(kernel.mmd2_unbiased(x, y, 300), abs=1e-12)


@pytest.mark.parametrize("name", [*ON_TENSORS])
def test_results_depend_neither_on_panels_nor_on_the_type_and_place_of_the_input(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float32 features in a file, in panels of 37 and blocks of 50 rows, equal float64 features at once."""
    function = ON_TENSORS[name]
    a, b = uniform(0, 250, 20).float(), (uniform(1, 250, 20) * 0.9).float()
    expected = function(a.double(), b.double())
    (tmp_path / "features").write_bytes(a.numpy().tobytes())
    stored = torch.from_file(str(tmp_path / "features"), shared=True, size=a.numel()).view_as(a)
    monkeypatch.setattr(blocks, "COLUMNS", 37)
    for module in (blocks, frechet, authenticity, checks):
        monkeypatch.setattr(module, "ROWS", 50)
    for found, value in zip(_tensors(function(stored, b)), _tensors(expected), strict=True):
        assert found.dtype == torch.float64
        assert torch.allclose(found, value, rtol=1e-11, atol=1e-13)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu() -> None:
    a, b = uniform(0, 300, 40), uniform(1, 250, 40) * 0.9
    for name, function in _on_pairs().items():
        other = b if name != "errors" else a[:250]
        host, device = function(a[: len(other)], other), function(a[: len(other)].cuda(), other.cuda())
        for x, y in zip(_tensors(host), _tensors(device), strict=True):
            assert torch.allclose(x, y.cpu(), rtol=1e-10, atol=1e-12), name


def _tensors(result) -> list[Tensor]:
    results = result if isinstance(result, tuple) else (result,)
    return [x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64) for x in results]


def _on_pairs():
    """Return the metrics as functions of two sets; what takes one set takes the second."""
    return {
        "parzen": lambda a, b: parzen.log_likelihoods(a, b, parzen.goodfellow_grid()),
        "folds": lambda a, b: parzen.held_out_log_likelihoods(b, parzen.goodfellow_grid()),
        "frechet": frechet.frechet_distance,
        "mmd2": kernel.mmd2_unbiased,
        "neighbours": neighbours.neighbours,
        "authentic": lambda a, b: authenticity.authentic(a, b),
        "logits": lambda a, b: inception_score.inception_scores(b),
        "errors": reconstruction.squared_errors,
    }


@pytest.mark.parametrize("name", _on_pairs())
@pytest.mark.parametrize("bad", ["nan", "inf", "few", "flat", "columns"])
def test_unusable_input_is_a_user_error(name: str, bad: str) -> None:
    function = _on_pairs()[name]
    good, spoiled = uniform(0, 30, 4), uniform(1, 30, 4)
    function(good, spoiled)
    if bad in ("nan", "inf"):
        spoiled[3, 2] = float(bad)
    elif bad == "few":
        spoiled = spoiled[:0] if name == "parzen" else spoiled[:1]
    elif bad == "flat":
        spoiled = spoiled[:, 0]
    elif name in ("folds", "logits"):
        pytest.skip("takes one matrix")
    else:
        spoiled = spoiled[:, :3]
    with pytest.raises(UserError) as error:
        function(good, spoiled)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_pixels_outside_0_1_are_a_user_error() -> None:
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        checks.pixels("generated images", torch.full((2, 1, 2, 2), -1.0))


@pytest.mark.parametrize("name", [*ON_FEATURES, *ON_PIXELS])
def test_protocols_on_made_up_evidence(name: str, inputs: FakeInputs) -> None:
    metric = registry.metrics.get(name)
    on_features = name in ON_FEATURES
    score = metric.compute(inputs, "flat" if on_features else "")
    assert (metric.needs_extractor != "no") == on_features
    assert math.isfinite(score.value) and isinstance(score.value, float) and isinstance(score.std_error, float)
    assert "float64" in score.protocol and ("flat@sha256:0" in score.protocol) == on_features
    assert len(metric.summary) < 110 and ";" in metric.summary
    again = metric.compute(inputs, "flat" if on_features else "")
    assert (again.value, again.protocol) == (score.value, score.protocol)


def test_protocol_text_names_counts_and_detail_what_was_chosen(inputs: FakeInputs) -> None:
    score = registry.metrics.get("parzen-goodfellow").compute(inputs, "")
    assert "400 generated" in score.protocol and "first 30 validation" in score.protocol
    assert "mean over 50 test" in score.protocol and score.n == 50 and score.detail.startswith("sigma=0.")
    centres = checks.pixels("", inputs.fake(400))
    means = [parzen.log_likelihoods(checks.pixels("", inputs.real(split)), centres, parzen.goodfellow_grid())
             for split in ("validation", "test")]  # fmt: skip
    chosen = means[1][means[0].mean(1).argmax()]
    assert score.value == pytest.approx(float(chosen.mean()), rel=1e-12)
    assert score.std_error == pytest.approx(float(chosen.std()) / math.sqrt(50), rel=1e-12)


def test_a_bandwidth_at_the_edge_is_told(inputs: FakeInputs) -> None:
    # The 400 centres repeat 200 images, so held-out folds hold copies and the smallest sigma wins.
    score = registry.metrics.get("parzen-fgan").compute(inputs, "")
    assert score.detail == "sigma=0.001 at the edge of the grid"
    assert "400 generated images as centres; sigma by 3-fold" in score.protocol


def test_parzen_sample_counts_are_those_of_the_papers() -> None:
    assert (parzen.SAMPLES, parzen.FGAN_SAMPLES, parzen.VALIDATION) == (10_000, 16_000, 1000)


def test_small_samples_are_told(inputs: FakeInputs) -> None:
    kid = registry.metrics.get("kid").compute(inputs, "flat")
    assert math.isnan(kid.std_error) and "no standard error" in kid.detail
    inputs.samples = 3
    assert "rank-deficient" in registry.metrics.get("fid").compute(inputs, "flat").detail
    with pytest.raises(UserError, match="logits"):
        registry.metrics.get("inception-score").compute(inputs, "blind")
    with pytest.raises(UserError, match="at least 6"):
        registry.metrics.get("density").compute(inputs, "flat")


def test_reconstruction_mse_of_a_known_error(inputs: FakeInputs) -> None:
    inputs.splits["test"] = torch.full((4, 1, 2, 2), 0.5)
    score = registry.metrics.get("reconstruction-mse").compute(inputs, "")
    assert score.value == pytest.approx(0.01, rel=1e-6) and score.std_error == 0 and score.n == 4
