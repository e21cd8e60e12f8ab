"""Laws with a known truth: densities, distribution functions and samples that agree; sets drawn from them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from ganbench import datasets
from ganbench.datasets import densities, mixtures
from ganbench.datasets.gaussians import Ellipsoids, Mixture, SwissRoll
from ganbench.distributions import scalar
from ganbench.errors import UserError

ONE = sorted(densities.LAWS)
PLANAR = ("ring", "grid", "8gaussians", "25gaussians", "swissroll")
HIGH = ("mixture-1200d", "mixture-100d")
SPLITS = ("train", "validation", "test")
normal = stats.norm()
SCIPY = {
    "implicit-exp": stats.lognorm(1),
    "implicit-square": stats.chi2(1),
}


def law_of(name: str) -> scalar.ComponentDistribution:
    return densities.LAWS[name][1]


@pytest.mark.parametrize("name", ONE)
def test_quantiles_invert_the_distribution_function_whose_slope_is_the_density(name: str) -> None:
    law = law_of(name)
    u = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    x = law.quantile(u)
    assert (law.cdf(x) - u).abs().max() < 1e-12
    assert (law.cdf(x[:, None]) == law.cdf(x)).all()
    step = 1e-6 * x.abs().clamp(min=1e-3)
    slope = (law.cdf(x + step) - law.cdf(x - step)) / (2 * step)
    assert torch.allclose(slope, law.log_density(x).exp(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ONE)
def test_samples_follow_the_distribution_function(name: str) -> None:
    law = law_of(name)
    x = law.sample(20_000, 7)
    assert x.dtype == torch.float32 and x.shape == (20_000, 1) and torch.equal(x, law.sample(20_000, 7))
    assert stats.kstest(x[:, 0].numpy(), lambda q: law.cdf(torch.from_numpy(q)).numpy()).pvalue > 0.001
    assert not torch.equal(x, law.sample(20_000, 8)) and law.log_density(x).isfinite().all()


@pytest.mark.parametrize("name", sorted(SCIPY))
def test_laws_are_those_of_scipy(name: str) -> None:
    law, x = law_of(name), torch.logspace(-8, 1, 50, dtype=torch.float64)
    assert torch.allclose(law.log_density(x), torch.from_numpy(SCIPY[name].logpdf(x)), rtol=1e-10)
    assert torch.allclose(law.cdf(x), torch.from_numpy(SCIPY[name].cdf(x)), rtol=1e-10)


@pytest.mark.parametrize(("name", "low", "high"), [("implicit-sigmoid", 0, 1), ("implicit-tanh", -1, 1)])
def test_densities_on_an_interval_integrate_to_1_and_are_0_outside(name: str, low: float, high: float) -> None:
    law = law_of(name)
    total, _ = integrate.quad(lambda x: float(law.log_density(torch.tensor([x])).exp()), low, high)
    assert total == pytest.approx(1, abs=1e-7)
    outside = torch.tensor([low - 0.5, low, high, high + 0.5])
    assert law.log_density(outside).isneginf().all()
    assert law.cdf(outside).tolist() == [0, 0, 1, 1]


def test_numbers_below_0_have_no_density_under_exp_and_square() -> None:
    for name in ("implicit-exp", "implicit-square"):
        below = torch.tensor([-1.0, 0.0])
        assert law_of(name).log_density(below).isneginf().all() and law_of(name).cdf(below).tolist() == [0, 0]


def test_moments_and_entropies_of_the_slides() -> None:
    u = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    for name, mean, entropy in (("implicit-exp", math.exp(0.5), 1.41894), ("implicit-square", 1, 0.78376)):
        x = law_of(name).quantile(u)
        assert float(x.mean()) == pytest.approx(mean, abs=1e-3)
        assert float(-law_of(name).log_density(x).mean()) == pytest.approx(entropy, abs=1e-4)


def test_no_single_gaussian_comes_nearer_to_the_f_gan_mixture_in_kl_than_the_published_one() -> None:
    law = law_of("fgan-mixture-1d")
    x = torch.linspace(-15, 20, 700_001, dtype=torch.float64)
    log_p = law.log_density(x)
    p, width = log_p.exp(), float(x[1] - x[0])
    mean = float((p * x).sum() * width)
    std = math.sqrt(float((p * (x - mean).square()).sum() * width))
    kl = float((p * (log_p - scalar.normal_log_density(x - mean, std))).sum() * width)
    # The best Gaussian in KL(P || Q) has P's moments: the row of Nowozin et al. 2016, table 3.
    assert (mean, std, kl) == pytest.approx((1.0100, 1.8308, 0.2831), abs=2e-4)


def test_mixture_quantiles_are_exact_to_ten_digits() -> None:
    law = law_of("two-gaussians-1d")
    u = torch.tensor([1e-9, 0.25, 0.5, 0.75], dtype=torch.float64)
    assert float(law.quantile(u)[2]) == pytest.approx(0, abs=1e-10)
    assert float(law.quantile(u)[1]) == pytest.approx(-2, abs=1e-10)
    assert float(law.quantile(u)[0]) == pytest.approx(-2 + 0.5 * normal.ppf(2e-9), abs=1e-10)


# Vectors


def test_mixture_density_agrees_with_scipy_and_integrates_to_1() -> None:
    law = Mixture(torch.tensor([[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]]), torch.tensor([0.5, 2.0, 1.0]))
    x = law.sample(500, 0).double()
    parts = [stats.multivariate_normal(c, np.diag([0.25, 4, 1])).pdf(x) for c in law.centres.numpy()]
    assert torch.allclose(law.log_density(x), torch.from_numpy(np.log(np.mean(parts, 0))), rtol=1e-9)


def test_ellipsoid_density_and_standardisation_are_exact() -> None:
    random = torch.Generator().manual_seed(0)
    means, factors = torch.randn(3, 4, generator=random), torch.randn(3, 4, 2, generator=random)
    law = Ellipsoids(means, factors, torch.full((4,), 0.3)).standardised()
    x = law.sample(200_000, 1).double()
    assert x.mean(0).abs().max() < 0.01 and (x.std(0) - 1).abs().max() < 0.01
    covariances = (law.factors @ law.factors.mT + torch.diag(law.noise**2)).numpy()
    parts = [stats.multivariate_normal(m, c).pdf(x[:300]) for m, c in zip(law.means, covariances, strict=True)]
    assert torch.allclose(law.log_density(x[:300]), torch.from_numpy(np.log(np.mean(parts, 0))), rtol=1e-6)


def test_each_ellipsoid_has_its_own_covariance() -> None:
    law = mixtures.planes()
    random = np.random.RandomState(0)
    x = law.of_components(torch.full((40_000,), 3), random).double()
    expected = law.factors[3] @ law.factors[3].T
    assert (x.T.cov() - expected).abs().max() < 0.02 * expected.abs().max()
    assert (x.mean(0) - law.means[3]).abs().max() < 0.02


def test_spiral_density_integrates_to_1_and_its_quadrature_is_converged() -> None:
    law = SwissRoll()
    line = torch.linspace(-2.3, 2.3, 185, dtype=torch.float64)
    density = law.log_density(torch.cartesian_prod(line, line)).exp()
    assert float(density.sum() * 0.025**2) == pytest.approx(1, abs=1e-4)
    # A plain fine sum in t, which knows nothing of panels, at the inner end, on the curve and off it.
    t = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000 * 3 * math.pi + 1.5 * math.pi
    std = 0.25 / 7.5
    for x in torch.tensor([[0.0, -0.63], [1.0, 0.9], [1.885, 0.0], [0.3, 0.3]], dtype=torch.float64):
        squared = (t * t.cos() / 7.5 - x[0]) ** 2 + (t * t.sin() / 7.5 - x[1]) ** 2
        direct = (-squared / (2 * std**2)).logsumexp(0) - math.log(len(t)) - math.log(2 * math.pi * std**2)
        assert float(law.log_density(x[None])) == pytest.approx(float(direct), abs=1e-8)


def test_spiral_is_that_of_scikit_learn() -> None:
    from sklearn.datasets import make_swiss_roll

    theirs = make_swiss_roll(20_000, noise=0.25, random_state=0)[0][:, [0, 2]] / 7.5
    ours = SwissRoll().sample(20_000, 5).numpy()
    for of in (lambda x: x[:, 0], lambda x: x[:, 1], lambda x: np.hypot(x[:, 0], x[:, 1])):
        assert stats.ks_2samp(of(theirs), of(ours)).pvalue > 0.001


def test_entropy_of_the_ring_is_that_of_its_modes_apart() -> None:
    law = mixtures.ring(1, 0.01)
    x = law.sample(100_000, 3)
    expected = math.log(8) + 1 + math.log(2 * math.pi * 0.01**2)
    assert float(-law.log_density(x).mean()) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", HIGH)
def test_flat_laws_say_that_they_have_no_density(name: str) -> None:
    data = datasets.load(name)
    with pytest.raises(UserError, match="no density") as error:
        data.distribution.log_density(data.images["test"][:2])
    assert "\n" not in str(error.value)


# Datasets


@pytest.mark.parametrize("name", [*ONE, *PLANAR, *HIGH])
def test_sets_are_float32_vectors_in_disjoint_splits_with_modes_as_labels(name: str) -> None:
    data = datasets.load(name)
    expected = {"mixture-1200d": (20_000, 2_500, 2_500), "mixture-100d": (10_000, 2_500, 2_500)}
    sizes = expected.get(name, (100_000, 10_000, 10_000))
    for (split, x), n in zip(data.images.items(), sizes, strict=True):
        assert x.dtype == torch.float32 and x.shape == (n, data.distribution.dimensions)
        if data.classes:
            assert data.labels[split].shape == (n,) and len(data.labels[split].unique()) == data.classes
    for one, other in itertools.combinations(SPLITS, 2):
        assert not torch.equal(data.images[one][:100], data.images[other][:100])
    assert data.sha256 == datasets.load(name).sha256
    assert data.data_spec.shape == (data.distribution.dimensions,)
    if data.distribution.modes:
        centres = data.distribution.modes.centres
        assert data.classes == len(centres) and float(
            data.distribution.modes.probabilities.sum()
        ) == pytest.approx(1)
        x, y = data.images["test"].double(), data.labels["test"]
        assert (torch.cdist(x, centres).argmin(1) == y).double().mean() > 0.99  # some clusters touch
    else:
        assert name in ("implicit-exp", "implicit-square", "implicit-sigmoid", "implicit-tanh", "swissroll",
                        "fgan-mixture-1d")  # fmt: skip


def test_scales_are_those_of_the_sources() -> None:
    ring, grid = datasets.load("ring").distribution.modes, datasets.load("grid").distribution.modes
    assert ring.centres.norm(dim=1).tolist() == pytest.approx([1] * 8) and ring.spread == 0.01
    assert sorted(set(grid.centres.flatten().tolist())) == [-4, -2, 0, 2, 4] and grid.spread == pytest.approx(0.05)
    eight, many = datasets.load("8gaussians").distribution.modes, datasets.load("25gaussians").distribution.modes
    assert float(eight.centres.norm(dim=1).max()) == pytest.approx(math.sqrt(2), rel=1e-3)
    assert eight.spread == pytest.approx(0.01414, abs=1e-5) and many.spread == pytest.approx(0.01768, abs=1e-5)
    assert float(many.centres[1, 1] - many.centres[0, 1]) == pytest.approx(0.7071, abs=2e-4)
    high = datasets.load("mixture-1200d")
    assert (high.images["test"][:, 700:].std(1) < 1e-6).all() and (
        high.distribution.modes.variances > 0
    ).sum() == 7000
    clusters = datasets.load("mixture-100d")
    assert clusters.labels["train"].bincount().tolist() == [1000] * 10
    assert clusters.images["train"].mean(0).abs().max() < 0.03
    assert (clusters.images["train"].std(0) - 1).abs().max() < 0.03
