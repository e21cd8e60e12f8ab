"""Density-ratio losses on finite spaces, least-squares ratios in closed form, and networks against both."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec
from ganbench.losses.adversarial import gan_generator_maximum_likelihood
from ganbench.losses.ratios import RATIO_LOSSES, RatioLoss, log_softplus, reverse_kl, ulsif

P = torch.tensor([0.55, 0.3, 0.1, 0.05], dtype=torch.float64)
Q = torch.tensor([0.1, 0.25, 0.25, 0.4], dtype=torch.float64)
TRUTH = (P / Q).log()


def risk(loss: RatioLoss, log_ratio: Tensor, p: Tensor = P, q: Tensor = Q) -> Tensor:
    """The loss with exact expectations on a finite space."""
    return (p * loss.real(log_ratio) + q * loss.fake(log_ratio)).sum()


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_every_loss_is_least_at_the_true_ratio(name):
    loss, truth = RATIO_LOSSES[name], TRUTH.clone().requires_grad_()
    gradient = torch.autograd.grad(risk(loss, truth), truth)[0]
    assert gradient.abs().max() < 1e-15
    grid = torch.linspace(-6, 6, 24_001, dtype=torch.float64)  # the points do not see each other
    for p, q, best in zip(P, Q, TRUTH, strict=True):
        values = p * loss.real(grid) + q * loss.fake(grid)
        assert grid[values.argmin()].item() == pytest.approx(best.item(), abs=3e-4)


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_a_batch_is_the_sum_of_two_means(name):
    loss = RATIO_LOSSES[name]
    real, fake = torch.randn(7, 1, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    expected = sum(loss.real(t).item() for t in real) / 7 + sum(loss.fake(t).item() for t in fake) / 5
    assert loss(real, fake).item() == pytest.approx(expected, rel=1e-12)
    assert loss(real.flatten(), fake.flatten()).item() == loss(real, fake).item()


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("lsif", lambda u: 0.5 * u.square()),
        ("kliep", lambda u: u * u.log() - u),
        ("logistic", lambda u: u * u.log() - (u + 1) * (u + 1).log()),
    ],
)
def test_bregman_losses_follow_from_their_function(name, f):
    log_ratio = torch.linspace(-3, 3, 13, dtype=torch.float64)
    u = log_ratio.exp().requires_grad_()
    slope = torch.autograd.grad(f(u).sum(), u)[0]
    loss = RATIO_LOSSES[name]
    for mine, formula in ((loss.real, -slope), (loss.fake, u * slope - f(u))):
        gap = (mine(log_ratio) - formula).detach()
        assert (gap - gap[0]).abs().max() < 1e-12  # constants do not count


def test_proper_losses_are_those_of_the_class_probability():
    log_ratio = torch.linspace(-5, 5, 11, dtype=torch.float64)
    d = log_ratio.exp() / (1 + log_ratio.exp())
    forms = {
        "bernoulli": (-d.log() / 2, -(1 - d).log() / 2),
        "brier": ((1 - d) ** 2 / 2, d**2 / 2),
        "exponential": (((1 - d) / d).sqrt() / 2, (d / (1 - d)).sqrt() / 2),
    }
    for name, (real, fake) in forms.items():
        assert torch.allclose(RATIO_LOSSES[name].real(log_ratio), real, rtol=1e-10)
        assert torch.allclose(RATIO_LOSSES[name].fake(log_ratio), fake, rtol=1e-10)


def test_the_logistic_bregman_loss_is_twice_the_bernoulli_loss():
    log_ratio = torch.randn(4, dtype=torch.float64)
    twice = 2 * risk(RATIO_LOSSES["bernoulli"], log_ratio)
    assert risk(RATIO_LOSSES["logistic"], log_ratio).item() == pytest.approx(twice.item(), rel=1e-14)


def test_lsif_is_half_the_squared_error_of_the_ratio_under_q():
    guess = torch.randn(4, dtype=torch.float64)
    excess = risk(RATIO_LOSSES["lsif"], guess) - risk(RATIO_LOSSES["lsif"], TRUTH)
    error = (Q * (guess.exp() - TRUTH.exp()).square()).sum()
    assert 2 * excess.item() == pytest.approx(error.item(), rel=1e-12)


def test_log_softplus_where_softplus_underflows():
    x = torch.tensor([-200.0, -16.0, -14.9, 0.0, 3.0, 300.0], requires_grad=True)
    exact = np.log(np.log1p(np.exp(x.detach().double().numpy())))
    assert log_softplus(x).detach().numpy() == pytest.approx(exact, rel=1e-6)
    slope = torch.autograd.grad(log_softplus(x).sum(), x)[0]
    of_three = 1 / (1 + math.exp(-3)) / math.log1p(math.exp(3))
    assert slope.tolist() == pytest.approx([1, 1, 1, 0.5 / math.log(2), of_three, 1 / 300], rel=1e-5)


def test_gradients_of_the_generator_costs_are_those_of_divergences():
    """With the ratio held at the truth, -E_q log r moves q as KL(q || p) does and -E_q r as KL(p || q) does."""
    weights = Q.log().requires_grad_()
    q = weights.softmax(0)

    def gradient(value: Tensor) -> list[float]:
        return torch.autograd.grad(value, weights, retain_graph=True)[0].tolist()

    assert gradient((-TRUTH * q).sum()) == pytest.approx(gradient((q * (q / P).log()).sum()), abs=1e-12)
    assert gradient((-TRUTH.exp() * q).sum()) == pytest.approx(gradient((P * (P / q).log()).sum()), abs=1e-12)
    # and the functions average exactly that
    assert reverse_kl(TRUTH).item() == pytest.approx(-TRUTH.mean().item(), rel=1e-14)
    assert gan_generator_maximum_likelihood(TRUTH).item() == pytest.approx(-TRUTH.exp().mean().item(), rel=1e-14)


# ---------------------------------------------------------------- the game


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_both_players_see_the_log_ratio_of_data_over_fakes(name):
    model = registry.models.get(f"ratio-{name}")
    settings = model.settings({"kind": "mlp", "generator": [5], "critic": [5], "generator_norm": "none"})
    game = model.build(DataSpec("plane", (2,), 0, torch.zeros(2)), settings, 0).double()
    x, fake = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    link = torch.nn.functional.softplus if name == "lsif" else torch.exp
    real, made = link(game.R(x)).log(), link(game.R(fake)).log()
    expected = RATIO_LOSSES[name].real(real).mean() + RATIO_LOSSES[name].fake(made).mean()
    assert game.ratio_loss(x, {"fake": fake}).item() == pytest.approx(expected.item(), rel=1e-9)
    assert game.generator_loss(x, {"fake": fake}).item() == pytest.approx(-made.mean().item(), rel=1e-9)


# ---------------------------------------------------------------- one-dimensional Gaussians


def sample(n: int, mean: float, scale: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draws of p = N(0, 1) and q = N(mean, scale^2), (n, 1)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, generator=generator), mean + scale * torch.randn(n, 1, generator=generator)


def exact(x: Tensor, mean: float, scale: float) -> Tensor:
    return 0.5 * ((x - mean) / scale).square() - 0.5 * x.square() + math.log(scale)


def errors(log_ratio: Tensor, x: Tensor, mean: float, scale: float) -> tuple[float, float]:
    """Mean squared error of r and of log r at draws of q."""
    truth = exact(x, mean, scale)
    return (log_ratio.exp() - truth.exp()).square().mean().item(), (log_ratio - truth).square().mean().item()


def chosen(p: Tensor, q: Tensor, folds: int = 5) -> tuple[float, float]:
    """Bandwidth and ridge of least loss in cross-validation."""

    def score(bandwidth: float, ridge: float) -> float:
        total = 0.0
        for fold in range(folds):
            held = torch.arange(len(p)) % folds == fold
            ratio = ulsif(p[~held], q[~held], p[:100], bandwidth, ridge)
            total += (0.5 * ratio(q[held]).square().mean() - ratio(p[held]).mean()).item()
        return total

    grid = [(b, r) for b in (0.3, 0.5, 0.7, 1.0, 1.5) for r in (1e-3, 1e-2, 1e-1)]
    return min(grid, key=lambda pair: score(*pair))


def test_ulsif_solves_its_equations():
    p, q = (x.double() for x in sample(300, 0.5, 1.2, seed=1))
    centres = p[:20]

    def kernel(x: Tensor) -> np.ndarray:
        return np.exp(-((x.numpy() - centres.numpy().T) ** 2) / (2 * 0.6**2))

    second = kernel(q).T @ kernel(q) / 300 + 1e-4 * np.eye(20)
    weights = np.maximum(np.linalg.solve(second, kernel(p).mean(0)), 0)
    x = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None]
    assert (weights == 0).any() and (weights > 0).any()
    assert ulsif(p, q, centres, 0.6, 1e-4)(x).numpy() == pytest.approx(kernel(x) @ weights, rel=1e-6)


@pytest.mark.parametrize(("mean", "scale"), [(0.5, 1.5), (1.0, 1.5)])
def test_ulsif_finds_the_ratio_of_gaussians(mean, scale):
    p, q = sample(20_000, mean, scale, seed=0)
    fresh = sample(20_000, mean, scale, seed=9)[1]
    ratio = ulsif(p, q, p[:100], 1.0, 0.1)(fresh)[:, None]
    of_ratio, of_log = errors(ratio.clamp(min=1e-30).log(), fresh, mean, scale)
    print(f"q = N({mean}, {scale}^2): r {of_ratio:.5f}, log r {of_log:.5f}")
    truth = exact(fresh, mean, scale)
    assert of_ratio < 0.03 * truth.exp().var().item()
    assert of_log < 0.03 * truth.var().item()


@pytest.mark.parametrize(("bandwidth", "ridge"), [(0.0, 0.1), (1.0, 0.0), (-1.0, 0.1)])
def test_ulsif_refuses_what_cannot_be_solved(bandwidth, ridge):
    p, q = sample(10, 0.0, 1.0, seed=0)
    with pytest.raises(UserError, match="bandwidth and ridge must be > 0"):
        ulsif(p, q, p, bandwidth, ridge)


SEEDS, POINTS, MEAN = 2, 20_000, 0.5


def learned(loss: RatioLoss, p: Tensor, q: Tensor, x: Tensor, steps: int = 300, rate: float = 0.01) -> Tensor:
    """Log ratios at x of a 64-64 network trained by Adam on minibatches of 1000."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(1, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
        )
    generator = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(net.parameters(), lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 - step / steps)
        real, fake = (y[torch.randint(len(y), (1000,), generator=generator)] for y in (p, q))
        adam.zero_grad()
        loss(loss.log_ratio(net(real)), loss.log_ratio(net(fake))).backward()
        adam.step()
    with torch.no_grad():
        return loss.log_ratio(net(x))


@pytest.fixture(scope="module")
def reference() -> tuple[float, float]:
    """Errors of the cross-validated least-squares ratio, averaged over the seeds."""
    found = []
    for seed in range(SEEDS):
        p, q = sample(POINTS, MEAN, 1.0, seed)
        fresh = sample(POINTS, MEAN, 1.0, seed=99)[1]
        ratio = ulsif(p, q, p[:100], *chosen(p, q))(fresh)[:, None]
        found.append(errors(ratio.clamp(min=1e-30).log(), fresh, MEAN, 1.0))
    return tuple(np.mean(found, axis=0))


@pytest.mark.parametrize("name", RATIO_LOSSES)
def test_networks_come_within_ten_percent_of_ulsif(name, reference):
    """At N(0, 1) against N(0.5, 1), where log r is linear.

    Against a wider q, r is itself a Gaussian bump, the form of uLSIF's kernels, whose error is then about a third
    of the networks'.
    """
    found = []
    for seed in range(SEEDS):
        p, q = sample(POINTS, MEAN, 1.0, seed)
        fresh = sample(POINTS, MEAN, 1.0, seed=99)[1]
        found.append(errors(learned(RATIO_LOSSES[name], p, q, fresh), fresh, MEAN, 1.0))
    of_ratio, of_log = np.mean(found, axis=0)
    print(f"{name}: r {of_ratio:.5f} (uLSIF {reference[0]:.5f}), log r {of_log:.5f} (uLSIF {reference[1]:.5f})")
    assert of_ratio <= 1.1 * reference[0]
    assert of_log <= 1.1 * reference[1]
