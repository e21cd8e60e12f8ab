"""Moments and kernels: the discrepancy in closed form, and the models that minimise or play on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec, Game
from ganbench.losses.mmd import gaussian, mmd, mmd2, rational_quadratic, squared_distances

MLP = {"kind": "mlp", "generator": [32, 32], "critic": [32, 32], "generator_norm": "none"}


def normal(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(squared: Tensor) -> Tensor:
    return gaussian(squared, [1.0])


# ---------------------------------------------------------------- kernels and the discrepancy


def test_kernels_at_known_distances():
    squared = torch.tensor([0.0, 4.0], dtype=torch.float64)
    # variances, not standard deviations: exp(-4 / (2 * 2)) and exp(-4 / (2 * 8)), each less 1
    assert gaussian(squared, [2.0, 8.0]).tolist() == pytest.approx([0, math.exp(-1) + math.exp(-0.25) - 2])
    assert rational_quadratic(squared, [0.5, 2.0]).tolist() == pytest.approx([0, 5**-0.5 + 0.25 - 2])


def test_squared_distances_also_far_from_the_origin():
    x, y = normal(5, 3, 0), normal(7, 3, 1)
    assert torch.allclose(squared_distances(x, y), torch.cdist(x, y).square(), rtol=1e-10)
    far = squared_distances((x + 1000).float(), (y + 1000).float())
    assert torch.allclose(far.double(), torch.cdist(x, y).square(), rtol=1e-3, atol=1e-3)
    assert (squared_distances(x, x) >= 0).all()


def test_distances_keep_their_digits_under_autocast():
    x, y = normal(5, 300, 0, torch.float32), normal(7, 300, 1, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(squared_distances(x, y), torch.cdist(x, y).square(), rtol=1e-5)


def brute(x: np.ndarray, y: np.ndarray, variance: float, unbiased: bool) -> float:
    """The discrepancy as two nested sums over pairs."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-((a - b) ** 2).sum() / (2 * variance))

    def within(z: np.ndarray) -> float:
        pairs = [k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j or not unbiased]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize("unbiased", [False, True])
def test_the_discrepancy_is_the_sum_over_pairs(unbiased):
    x, y = normal(6, 2, 0), normal(9, 2, 1) + 0.5
    value = mmd2(lambda s: gaussian(s, [0.7]), x, y, unbiased)
    assert value.item() == pytest.approx(brute(x.numpy(), y.numpy(), 0.7, unbiased), rel=1e-10)


def test_the_discrepancy_of_gaussians():
    # N(0, 1) and N(m, 1): 2 sqrt(v / (v + 2)) (1 - exp(-m^2 / (2 (v + 2))))
    v, m = 1.5, 0.8
    expected = 2 * math.sqrt(v / (v + 2)) * (1 - math.exp(-(m**2) / (2 * (v + 2))))
    value = mmd2(lambda s: gaussian(s, [v]), normal(2000, 1, 0), normal(2000, 1, 1) + m, unbiased=True)
    assert value.item() == pytest.approx(expected, abs=0.015)


def test_equal_laws_biased_and_unbiased():
    draws = [(normal(40, 2, 2 * seed), normal(40, 2, 2 * seed + 1)) for seed in range(300)]
    biased = torch.stack([mmd2(unit, x, y) for x, y in draws])
    unbiased = torch.stack([mmd2(unit, x, y, unbiased=True) for x, y in draws])
    assert biased.min() > 0 and (unbiased < 0).any()
    assert abs(unbiased.mean()) < 4 * unbiased.std() / math.sqrt(300)
    assert biased.mean() > 10 * biased.std() / math.sqrt(300)


def test_the_root_has_a_finite_gradient_where_samples_agree():
    x = normal(8, 2, 0).requires_grad_()
    value = mmd(unit, x, x.detach().clone())
    assert value.item() == pytest.approx(1e-5, rel=1e-3)
    assert torch.autograd.grad(value, x)[0].abs().max() < 1e-8


def test_near_samples_keep_their_digits_in_float32():
    x, y = 1e-3 * normal(50, 4, 0), 1e-3 * (normal(50, 4, 1) + 1)
    exact = mmd2(unit, x, y)
    assert exact < 1e-5
    assert mmd2(unit, (x + 3).float(), (y + 3).float()).item() == pytest.approx(exact.item(), rel=1e-3)


# ---------------------------------------------------------------- models


def data_spec(*shape: int) -> DataSpec:
    return DataSpec("synthetic", shape, 0, torch.zeros(shape))


def build(name: str, shape: tuple[int, ...], **settings: object) -> Game:
    model = registry.models.get(name)
    paths = {path.replace("__", "."): value for path, value in settings.items()}
    return model.build(data_spec(*shape), model.settings(MLP, paths), seed=0)


def noise_of(game: Game, n: int, seed: int, training: bool = True) -> dict[str, Tensor]:
    laws = {key: law for key, law in game.noise().items() if training or not law.training_only}
    drawn = draw(laws, n, [torch.Generator().manual_seed(seed)], torch.empty(0))
    return {key: value[0] for key, value in drawn.items()}


def train(game: Game, x: Tensor, rounds: int, batch: int, rate: float = 2e-3, steps: int = 1) -> None:
    """Players in turn, the first with so many steps, by Adam: a plain loop."""
    generator, count = torch.Generator().manual_seed(0), 0
    adams = {
        player.name: torch.optim.Adam([p for net in player.nets for p in getattr(game, net).parameters()], rate)
        for player in game.players
    }
    for _ in range(rounds):
        for player in game.players:
            for _ in range(steps if player is not game.players[-1] else 1):
                count += 1
                noise = noise_of(game, batch, count)
                noise |= game.precompute(noise)
                real = x[torch.randint(len(x), (batch,), generator=generator)]
                adams[player.name].zero_grad()
                game(f"{player.name}_loss", real, noise).backward()
                adams[player.name].step()


def samples(game: Game, n: int = 2000) -> Tensor:
    with torch.no_grad():
        return game.eval().sample(noise_of(game, n, seed=77, training=False))


def moment_loss(which: str, x: Tensor, fake: Tensor) -> float:
    game = build("moment-matching", (x.shape[1],), statistic=which)
    return game.generator_loss(x, {"fake": fake}).item()


def test_moments_are_those_of_numpy():
    x, fake = normal(9, 3, 0), 2 * normal(8, 3, 1) + 1
    means = ((x.mean(0) - fake.mean(0)).numpy() ** 2).sum()
    covariances = ((np.cov(x.numpy().T) - np.cov(fake.numpy().T)) ** 2).sum()
    assert moment_loss("mean", x, fake) == pytest.approx(means, rel=1e-12)
    assert moment_loss("covariance", x, fake) == pytest.approx(covariances, rel=1e-12)
    assert moment_loss("mean-covariance", x, fake) == pytest.approx(means + covariances, rel=1e-12)


def test_moment_matching_fits_one_gaussian():
    law = torch.distributions.MultivariateNormal(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        x = law.sample((4000,))
    game = build("moment-matching", (2,), latent=4)
    train(game, x, rounds=400, batch=400)
    made = samples(game)
    assert (made.mean(0) - law.mean).abs().max() < 0.15
    assert (made.T.cov() - law.covariance_matrix).abs().max() < 0.15


def test_moment_matching_does_not_see_that_data_are_a_mixture():
    """Two narrow modes and one wide Gaussian have the same moments, but not the same discrepancy."""
    n = 4000
    modes = 2 * (normal(n, 1, 0) > 0).double() - 1 + 0.1 * normal(n, 1, 1)
    wide = math.sqrt(1.01) * normal(n, 1, 2)
    assert moment_loss("mean-covariance", modes, wide) < 5e-3
    assert mmd2(lambda s: gaussian(s, [0.1]), modes[:1000], wide[:1000], unbiased=True) > 0.1


@pytest.mark.parametrize("bounded", [False, True])
def test_gmmn_bandwidths_are_variances_on_natural_units(bounded):
    shape = (1, 2, 2) if bounded else (4,)
    game = build("gmmn", shape, bandwidths=[2.0, 5.0])
    x, fake = torch.full((3, *shape), -1.0), torch.full((3, *shape), 0.5)
    squared = 4 * 0.75**2 if bounded else 4 * 1.5**2  # pixels go from 0 to 1
    expected = sum(2 - 2 * math.exp(-squared / (2 * sigma)) for sigma in (2, 5))
    assert game.generator_loss(x, {"fake": fake}).item() == pytest.approx(math.sqrt(expected), rel=1e-5)


def test_mmd_gan_bandwidths_are_standard_deviations():
    game = build("mmd-gan", (4,), bandwidths=[2.0, 5.0], hinge=0.0)
    real, fake = torch.zeros(3, 2), torch.tensor([[0.0, 4.0]]).expand(3, 2)
    expected = sum(2 - 2 * math.exp(-16 / (2 * sigma**2)) for sigma in (2, 5))
    assert game.discrepancy(real, fake).item() == pytest.approx(math.sqrt(expected), rel=1e-5)
    # the hinge counts only codes whose means are in wrong order, here 4 and 0 of two
    game = build("mmd-gan", (4,), bandwidths=[2.0, 5.0])
    assert game.discrepancy(real, fake).item() == pytest.approx(math.sqrt(expected) - 16 * 2, rel=1e-5)
    assert game.discrepancy(fake, real).item() == pytest.approx(math.sqrt(expected), rel=1e-5)


def two_modes(n: int) -> Tensor:
    sign = 2 * (normal(n, 1, 10, torch.float32) > 0).float() - 1
    return torch.cat([2 * sign, torch.zeros_like(sign)], 1) + 0.2 * normal(n, 2, 11, torch.float32)


@pytest.mark.parametrize(
    ("name", "settings", "rounds", "steps"),
    [
        ("gmmn", {"bandwidths": [0.1, 0.5, 2.0]}, 300, 1),
        ("mmd-gan-gp", {"latent": 4}, 120, 2),
    ],
)
def test_models_find_both_modes(name, settings, rounds, steps):
    x = two_modes(2000)
    game = build(name, (2,), **settings)
    before = mmd2(unit, x, samples(game), unbiased=True)
    train(game, x, rounds, 64, rate=4e-3, steps=steps)
    made = samples(game)
    assert mmd2(unit, x, made, unbiased=True) < 0.15 * before
    left = ((made[:, 0] + 2).abs() < 1).float().mean()
    right = ((made[:, 0] - 2).abs() < 1).float().mean()
    assert left > 0.25 and right > 0.25


@pytest.mark.parametrize(("name", "off"), [("mmd-gan", {"reconstruction": 0.0}), ("mmd-gan-gp", {"penalty": 0.0})])
def test_without_penalties_the_players_want_the_opposite(name, off):
    game = build(name, (2,), **off)
    x, noise = two_modes(20), noise_of(game, 20, seed=1)
    noise |= game.precompute(noise)
    assert game.critic_loss(x, noise).item() == pytest.approx(-game.generator_loss(x, noise).item(), rel=1e-5)


def test_mmd_gan_reconstructs_data_and_fakes():
    game = build("mmd-gan", (2,), reconstruction=3.0).double()
    x, fake = two_modes(7).double(), normal(7, 2, 4)
    both = game.critic_loss(x, {"fake": fake}) + game.generator_loss(x, {"fake": fake})
    errors = [(game.decoder(game.encoder(points)) - points).square().mean() for points in (x, fake)]
    assert both.item() == pytest.approx(3 * sum(errors).item(), rel=1e-9)


def test_the_penalty_is_on_the_slope_of_the_witness():
    game = build("mmd-gan-gp", (2,)).double()
    x, noise = two_modes(6).double(), {k: v.double() for k, v in noise_of(game, 6, seed=1).items()}
    fake = noise["fake"] = game.sample(noise).detach()
    penalty = game.critic_loss(x, noise) + game.generator_loss(x, noise)
    points = noise["mix"] * x + (1 - noise["mix"]) * fake

    def witness(point: Tensor) -> float:
        def near(sample: Tensor) -> Tensor:
            squared = (game.D(point[None]) - game.D(sample)).square().sum(1)
            return sum((1 + squared / (2 * a)) ** -a for a in (0.2, 0.5, 1, 2, 5)).mean()

        return (near(x) - near(fake)).item()

    step, terms = 1e-5, []
    for point in points:
        slope = [
            (witness(point + e) - witness(point - e)) / (2 * step)
            for e in step * torch.eye(2, dtype=torch.float64)
        ]
        terms.append((math.hypot(*slope) - 1) ** 2)
    assert penalty.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_norm_in_the_critic_is_refused():
    model = registry.models.get("mmd-gan-gp")
    settings = model.settings({"kind": "conv", "width": 4, "critic_norm": True})
    with pytest.raises(UserError, match=r"needs backbone\.critic_norm=false"):
        model.build(data_spec(1, 8, 8), settings, seed=0)


# ---------------------------------------------------------------- the autoencoder of gmmn-ae

SMALL = {"hidden": 24, "codes": 6, "epochs": 200, "rate": 0.01}


def fitted(x: Tensor, seed: int = 1, **settings: object) -> Game:
    game = build("gmmn-ae", tuple(x.shape[1:]), **(SMALL | settings))
    game.fit(x, None, seed)
    return game


@pytest.fixture(scope="module")
def stripes() -> Tensor:
    """Images of a bright row, (200, 1, 6, 6) in [-1, 1]."""
    x = torch.full((200, 1, 6, 6), -0.9)
    x[torch.arange(200), 0, torch.arange(200) % 6] = 0.9
    return x


def test_the_autoencoder_belongs_to_no_player_and_learns(stripes):
    game = fitted(stripes)
    assert all(name.startswith("G.") for name, _ in game.named_parameters())
    mean = (stripes - stripes.mean(0)).square().mean()
    with torch.no_grad():
        assert (game.reconstruct(stripes) - stripes).square().mean() < 0.5 * mean
        codes = game.encode(stripes)
        assert codes.shape == (200, 6) and 0 <= codes.min() and codes.max() <= 1
        assert torch.equal(game.decode(codes), game.reconstruct(stripes))
        assert samples(game, 5).shape == (5, 1, 6, 6)


def test_the_autoencoder_depends_on_its_seed_alone(stripes):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = dict(fitted(stripes, epochs=2).named_buffers())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again, other = (dict(fitted(stripes, seed, epochs=2).named_buffers()) for seed in (1, 2))
    assert one and all(torch.equal(value, again[key]) for key, value in one.items())
    assert not torch.equal(one["weight0"], other["weight0"])


def test_the_autoencoder_takes_vectors():
    x = two_modes(300)
    game = fitted(x)
    with torch.no_grad():
        gap = (game.reconstruct(x) - x).square().mean()
    assert gap < 0.5 * (x - x.mean(0)).square().mean()


def test_gmmn_in_code_space_moves_samples_to_the_data(stripes):
    game = fitted(stripes)
    pixels = stripes.flatten(1)
    before = mmd2(unit, pixels, samples(game, 500).flatten(1), unbiased=True)
    train(game, stripes, rounds=200, batch=100)
    after = mmd2(unit, pixels, samples(game, 500).flatten(1), unbiased=True)
    assert after < 0.7 * before


def test_gmmn_in_code_space_compares_codes_between_0_and_1(stripes):
    game, z = fitted(stripes, epochs=1), torch.rand(200, 10, generator=torch.Generator().manual_seed(0))
    codes = 1 / (1 + (-game.G(z)).exp())
    expected = game.discrepancy(game.encode(stripes), codes)
    assert game.generator_loss(stripes, {"z": z}).item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(game.sample({"z": z}), game.decode(codes), atol=1e-6)


def test_published_numbers_are_marked_as_not_ours():
    values = {name: registry.models.get(name).published[0] for name in ("gmmn-2015", "gmmn-ae")}
    assert {name: (entry.value, entry.error) for name, entry in values.items()} == {
        "gmmn-2015": (147, 2),
        "gmmn-ae": (282, 2),
    }
    assert not any(entry.comparable for entry in values.values())
