"""f-divergences: Fenchel pairs, bounds, and the 1-D fit of the f-GAN paper, by quadrature and by training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from scipy.special import wrightomega
from scipy.stats import norm
from torch import Tensor, nn

from ganbench.datasets import Dataset
from ganbench.distributions.noise import Normal
from ganbench.game import SGD, Player
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.losses.divergences import NAMES, Divergence, divergence
from ganbench.training.stack import Stack

ROWS = {name: divergence(name) for name in NAMES if name not in ("alpha", "weighted-jensen-shannon")}
ROWS |= {f"alpha {alpha}": divergence("alpha", alpha=alpha) for alpha in (-1.0, 0.5, 2.0, 3.0)}
ROWS |= {f"weighted-jensen-shannon {pi}": divergence("weighted-jensen-shannon", pi=pi) for pi in (0.3, 0.5, 0.8)}
every_row = pytest.mark.parametrize("name", ROWS)
smooth_row = pytest.mark.parametrize("name", [name for name in ROWS if name != "total-variation"])


def grid(low: float, high: float, n: int) -> Tensor:
    return torch.linspace(low, high, n, dtype=torch.float64)


def ratios(n: int = 200) -> Tensor:
    """Ratios u = p / q over six decades."""
    return grid(math.log(1e-3), math.log(1e3), n).exp()


def slope(f, at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    return torch.autograd.grad(f(at).sum(), at)[0]


def points(row: Divergence) -> Tensor:
    """Points t of the domain: where the activation takes -6 to 6."""
    t = row.activation(grid(-6, 6, 25))
    assert t.dtype == torch.float64
    return t


def supremum(row: Divergence, t: float) -> float:
    """sup over u > 0 of ut - f(u), on a dense grid of log u and then by golden section around its best point."""

    def gap(log_u: float) -> float:
        u = torch.tensor(log_u, dtype=torch.float64).exp()
        return -(u * t - row.f(u)).item()

    dense = grid(-30, 20, 20_001)
    values = dense.exp() * t - row.f(dense.exp())
    best = int(values.argmax())
    low, high = dense[max(best - 1, 0)].item(), dense[min(best + 1, 20_000)].item()
    refined = minimize_scalar(gap, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    return max(values.max().item(), -refined.fun)


def test_the_rows_are_those_of_the_paper():
    assert len(NAMES) == 11 == len(set(NAMES))
    assert all(isinstance(row, Divergence) for row in ROWS.values())


@every_row
def test_conjugate_is_the_numeric_supremum(name):
    row = ROWS[name]
    for t in points(row):
        if name == "pearson" and t < -2:
            continue
        expected = supremum(row, t.item())
        assert row.conjugate(t).item() == pytest.approx(expected, rel=1e-9, abs=1e-8), t


@every_row
def test_fenchel_young(name):
    row = ROWS[name]
    t, u = points(row), ratios()
    gap = row.conjugate(t)[:, None] - (t[:, None] * u - row.f(u))
    assert gap.min() >= -1e-9
    assert gap.isfinite().all()


@smooth_row
def test_the_bound_is_tight_at_the_derivative(name):
    row, u = ROWS[name], ratios()
    t = slope(row.f, u)
    inside = (t > row.domain[0]) & (t < row.domain[1])
    assert inside.sum() > 150
    # conditioning: t rounds to its own precision, and the conjugate has slope u
    found, expected = row.conjugate(t[inside]), (u * t - row.f(u))[inside]
    scale = 1 + expected.abs() + u[inside] * (1 + t[inside].abs())
    assert ((found - expected).abs() / scale).max() < 1e-10
    # and the conjugate's slope leads back
    assert torch.allclose(slope(row.conjugate, t[inside]), u[inside], rtol=1e-6)


@every_row
def test_the_activation_stays_in_the_domain_and_rises(name):
    row, v = ROWS[name], grid(-8, 8, 1601)
    t = row.activation(v)
    assert t.min() > row.domain[0] and t.max() < row.domain[1]
    assert (t.diff() > 0).all()
    assert row.conjugate(t).isfinite().all()


@every_row
def test_the_composite_is_the_conjugate_of_the_activation(name):
    row, v = ROWS[name], grid(-8, 8, 1601).requires_grad_()
    short, long = row.composite(v), row.conjugate(row.activation(v))
    assert short.dtype == torch.float64
    assert ((short - long).abs() / long.abs().clamp(min=1)).max() < 1e-9
    slopes = [torch.autograd.grad(value.sum(), v, retain_graph=True)[0] for value in (short, long)]
    assert ((slopes[0] - slopes[1]).abs() / slopes[1].abs().clamp(min=1)).max() < 1e-8


@every_row
def test_the_composite_is_finite_in_float32_where_training_may_go(name):
    row, v = ROWS[name], torch.linspace(-30, 30, 601).requires_grad_()
    value = row.composite(v)
    assert value.dtype == torch.float32 and value.isfinite().all()
    assert torch.autograd.grad(value.sum(), v)[0].isfinite().all()
    assert torch.autograd.grad(row.activation(v).sum(), v)[0].isfinite().all()


@every_row
def test_the_threshold_is_the_derivative_at_one(name):
    row = ROWS[name]
    left, middle, right = (row.f(torch.tensor(u, dtype=torch.float64)).item() for u in (1 - 1e-6, 1, 1 + 1e-6))
    if name == "total-variation":
        below, above = (middle - left) / 1e-6, (right - middle) / 1e-6
        assert (below, above) == pytest.approx((-0.5, 0.5)) and row.threshold == pytest.approx(
            (below + above) / 2, abs=1e-9
        )
    else:
        assert row.threshold == pytest.approx((right - left) / 2e-6, abs=1e-8)


@every_row
def test_f_is_convex_and_zero_at_one(name):
    row = ROWS[name]
    at_one = row.f(torch.ones((), dtype=torch.float64)).item()
    assert at_one == pytest.approx(-math.log(4) if name == "gan" else 0, abs=1e-15)
    u = ratios(300)
    pairs = torch.cartesian_prod(u, u)
    middle = row.f(pairs.mean(1))
    chord = row.f(pairs).mean(1)
    assert (middle <= chord + 1e-12 * chord.abs().clamp(min=1)).all()
    # the least value of D_f, with f(1) taken off, is 0: f lies above its tangent at 1
    assert (row.f(u) >= at_one + row.threshold * (u - 1) - 1e-12).all()


@pytest.mark.parametrize(
    ("name", "other", "factor"),
    [
        ("weighted-jensen-shannon 0.5", "jensen-shannon", 0.5),
        ("alpha 2.0", "pearson", 0.5),
        ("alpha -1.0", "neyman", 0.5),
        ("alpha 0.5", "squared-hellinger", 2.0),
    ],
)
def test_rows_that_are_one_divergence_up_to_scale(name, other, factor):
    u = ratios()
    # f is free up to a multiple of u - 1, which no divergence sees
    one, two = (ROWS[key].f(u) - ROWS[key].threshold * (u - 1) for key in (name, other))
    assert torch.allclose(one, factor * two, rtol=1e-10, atol=1e-12)


def test_jeffrey_is_the_sum_of_both_kullback_leibler_divergences():
    u = ratios()
    both = ROWS["kl"].f(u) + ROWS["reverse-kl"].f(u)
    assert torch.allclose(ROWS["jeffrey"].f(u), both, rtol=1e-12, atol=1e-14)


def test_jeffrey_derivative_is_one_over_the_root():
    row, t = ROWS["jeffrey"], grid(-60, 60, 241)
    root = torch.from_numpy(wrightomega(1 - t.numpy()))  # w + log w = 1 - t, by another implementation
    assert torch.allclose(row.conjugate(t), root + 1 / root + t - 2, rtol=1e-12, atol=1e-12)
    found = slope(row.conjugate, t)
    assert torch.allclose(found, 1 / root, rtol=1e-11)
    step, near = 1e-5, grid(-6, 6, 49)
    difference = (row.conjugate(near + step) - row.conjugate(near - step)) / (2 * step)
    assert torch.allclose(slope(row.conjugate, near), difference, rtol=1e-7)


@pytest.mark.parametrize("alpha", [1.5, 2.0, 3.0, 8.0])
def test_alpha_above_one_takes_any_number(alpha):
    row = divergence("alpha", alpha=alpha)
    t = grid(-50, 10, 601)
    beyond = t < -1 / (alpha - 1)
    assert 300 < beyond.sum() < 601
    assert row.conjugate(t).isfinite().all() and slope(row.conjugate, t).isfinite().all()
    assert torch.allclose(row.conjugate(t)[beyond], torch.tensor(-1 / alpha, dtype=torch.float64))
    assert row.composite is row.conjugate or torch.equal(row.composite(t), row.conjugate(t))
    assert supremum(row, -3.0) == pytest.approx(row.conjugate(torch.tensor(-3.0)).item(), abs=1e-6)


def test_pearson_parabola_is_a_valid_bound_that_keeps_its_gradient():
    row, t = ROWS["pearson"], grid(-20, -2.001, 50)
    exact = torch.tensor([supremum(row, value.item()) for value in t], dtype=torch.float64)
    assert torch.allclose(exact, torch.tensor(-1.0, dtype=torch.float64), atol=1e-9)
    assert (row.conjugate(t) >= exact).all()  # so that E_P[t] - E_Q[f*(t)] is still at most D_f
    assert (slope(row.conjugate, t) < 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kll",), "divergence must be one of kl, .*alpha, got 'kll'"),
        (("alpha", 0.0), "alpha must be neither 0 nor 1"),
        (("alpha", 1.0), "alpha must be neither 0 nor 1"),
        (("weighted-jensen-shannon", 0.5, 0.0), r"pi must be in \(0, 1\)"),
        (("weighted-jensen-shannon", 0.5, 1.0), r"pi must be in \(0, 1\)"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        divergence(*arguments)


# ---------------------------------------------------------------- Nowozin et al. 2016, section 2.5

PARTS = ((0.33, -1.0, math.sqrt(0.065)), (0.67, 2.0, math.sqrt(2.0)))
FITS = {  # min D(P || Q), mu*, sigma*; the paper's JS row has no factor 1/2
    "kl": (0.2831, 1.0100, 1.8308),
    "reverse-kl": (0.2480, 1.5782, 1.6319),
    "jensen-shannon": (0.1280, 1.3070, 1.7542),
    "jeffrey": (0.5705, 1.3218, 1.7034),
    "pearson": (0.6457, 0.5737, 1.9274),
}
LINE = np.linspace(-14, 18, 20_001)


def mixture(x: np.ndarray) -> np.ndarray:
    return sum(weight * norm.pdf(x, mean, sd) for weight, mean, sd in PARTS)


def distance(name: str, mu: float, sigma: float) -> float:
    """D_f(P || N(mu, sigma^2)) by the trapezoid rule."""
    q = norm.pdf(LINE, mu, sigma)
    u = torch.from_numpy(mixture(LINE) / q)
    return float(np.trapezoid(q * ROWS[name].f(u).numpy(), LINE))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] if name == "jeffrey" else []) for name in FITS]
)
def test_best_gaussian_by_quadrature(name):
    assert np.trapezoid(mixture(LINE), LINE) == pytest.approx(1, abs=1e-10)
    found = minimize(
        lambda at: distance(name, at[0], math.exp(at[1])),
        x0=(1.2, 0.6),
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-10},
    )
    least, mu, sigma = FITS[name]
    assert found.fun == pytest.approx(least, abs=1e-3)
    assert found.x[0] == pytest.approx(mu, abs=1e-3)
    assert math.exp(found.x[1]) == pytest.approx(sigma, abs=1e-3)


@dataclass(frozen=True)
class LineConfig(Config):
    divergence: str = "kl"
    "which f"


class Line(Game):
    """f-GAN on the line: T-net 2x64 tanh against mu + sigma z, Algorithm 1; without a name, so not registered."""

    players = (
        Player("critic", nets=("V",), optimiser=SGD(0.2)),
        Player("generator", nets=("mu", "log_sigma"), optimiser=SGD(0.05)),
    )

    def __init__(self, data: DataSpec, config: LineConfig) -> None:
        super().__init__(data, config)
        self.row = divergence(config.divergence)
        self.V = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.mu, self.log_sigma = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.3))

    def noise(self):
        return {"z": Normal(1)}

    def sample(self, noise):
        return self.mu + self.log_sigma.exp() * noise["z"]

    def critic_loss(self, x, batch):
        fake = self.sample(batch).detach()
        return self.row.composite(self.V(fake)).mean() - self.row.activation(self.V(x)).mean()

    def generator_loss(self, x, batch):
        return -self.row.composite(self.V(self.sample(batch))).mean()


def quantiles(n: int) -> Tensor:
    """n points of P at equal steps of its distribution function: P without the noise of drawing it."""
    line = np.linspace(-14, 18, 400_001)
    cdf = sum(weight * norm.cdf(line, mean, sd) for weight, mean, sd in PARTS)
    return torch.from_numpy(np.interp((np.arange(n) + 0.5) / n, cdf, line)).float().reshape(n, 1)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] if name == "jeffrey" else []) for name in FITS]
)
def test_best_gaussian_by_training(name):
    data = Dataset("line", {"train": quantiles(20_000)})
    seeds = [0, 1]
    # Jeffrey's ratio is unbounded on both sides and needs the paper's batch.
    batch, rounds = (1024, 1500) if name == "jeffrey" else (256, 1000)
    games = []
    for seed in seeds:
        torch.manual_seed(seed)
        games.append(
            Line(DataSpec("line", (1,), 0, torch.zeros(1)), LineConfig(simultaneous=True, divergence=name))
        )
    stack = Stack(games, seeds, data, "line", batch, rounds)
    late = []
    for _ in range(rounds):
        stack.train_round()
        if stack.round > rounds // 2:
            fitted = {name: value.detach() for name, value in stack.state.parameters.items()}
            late.append(torch.stack([fitted["mu"], fitted["log_sigma"].exp()]))
    mu, sigma = torch.stack(late).mean((0, 2)).tolist()
    assert mu == pytest.approx(FITS[name][1], abs=0.1)
    assert sigma == pytest.approx(FITS[name][2], abs=0.1)
