"""What needs no learning: each does what it says, and stands beside the ranking."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ganbench import registry
from ganbench.datasets import Dataset, load
from ganbench.distributions.noise import draw
from ganbench.game.contract import Game
from ganbench.metrics.clustering import assigned, contingency, majority
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from ganbench.training.batches import scale

FLOORS = ("mean-image", "uniform-noise", "gaussian-blob", "random-codes", "chance-clusters", "still-frame")


def fitted(name: str, data: Dataset, seed: int = 0, **settings: object) -> tuple[Game, Tensor]:
    """A floor fitted to data, and the training set as it saw it."""
    model = registry.models.get(name)
    game = model.build(data.data_spec, model.settings({"kind": "mlp"}, settings), 0).double()
    x = scale(data.shown("train", 1000), torch.float64)
    game.fit(x, None, seed)
    return game.eval(), x


def sample(game: Game, n: int) -> Tensor:
    noise = draw(game.noise(), n, [torch.Generator().manual_seed(3)], torch.empty(0, dtype=torch.float64))
    return game.sample({name: value[0] for name, value in noise.items()})


def test_mean_image_shows_the_mean_and_no_constant_has_less_squared_error() -> None:
    game, x = fitted("mean-image", load("digits"))
    assert torch.equal(sample(game, 3), x.mean(0).expand(3, 1, 8, 8))
    made = game.reconstruct(x)
    error = (made - x).square().mean()
    assert made.shape == x.shape and torch.allclose(error, x.var(0, correction=0).mean())
    assert all(error < (made + shift - x).square().mean() for shift in (-0.01, 0.01))


def test_uniform_noise_fills_the_box_of_the_data_and_all_grey_levels() -> None:
    game, x = fitted("uniform-noise", load("grid"))
    made, low, high = sample(game, 20_000), x.amin(0), x.amax(0)
    assert (made >= low).all() and (made <= high).all()
    assert torch.allclose(made.var(0), (high - low).square() / 12, rtol=0.03)
    assert made.T.corrcoef()[0, 1].abs() < 0.03
    game, _ = fitted("uniform-noise", load("digits"))
    made = sample(game, 5000)
    assert torch.allclose(made.var(0), torch.full((1, 8, 8), 1 / 3, dtype=torch.float64), rtol=0.1)
    assert made.min() >= -1 and made.max() <= 1


def test_gaussian_blob_has_the_moments_of_the_data() -> None:
    game, x = fitted("gaussian-blob", load("swissroll"))
    made = sample(game, 100_000)
    scales = x.std(0)
    assert ((made.mean(0) - x.mean(0)).abs() < 0.02 * scales).all()
    assert ((made.T.cov() - x.T.cov()).abs() < 0.02 * scales.outer(scales)).all()


def test_gaussian_blob_of_images_is_cut_to_their_range_and_keeps_dead_pixels() -> None:
    game, x = fitted("gaussian-blob", load("digits"))
    made = sample(game, 2000)
    dead = x.flatten(1).std(0) == 0
    assert dead.any() and torch.allclose(made.flatten(1)[:, dead], x.flatten(1)[0, dead].expand(2000, -1))
    assert made.abs().max() == 1 and made[0].unique().numel() > 20


def test_still_frame_stands_still_and_predicts_the_frame_before() -> None:
    game, x = fitted("still-frame", load("moving-digits-4"))
    made = sample(game, 20)
    assert made.shape == (20, *x.shape[1:]) and torch.equal(made, made[:, :1].expand_as(made))
    assert all((x[:, 0] == item[0]).flatten(1).all(1).any() for item in made)
    assert torch.equal(game.predict(x), x[:, :-1])
    place = {"place": torch.tensor([[0.0], [1 - 2**-53]], dtype=torch.float64)}
    assert torch.equal(game.extrapolate(place, 30)[:, 29], x[[0, len(x) - 1], 0])


def test_random_codes_keep_distances_roughly_and_follow_their_seed() -> None:
    data = load("digits")
    game, x = fitted("random-codes", data, latent=500)
    codes = game.encode(x[:100])
    # 500 directions: each squared distance to within a relative deviation of about sqrt(2 / 500)
    ratio = torch.cdist(codes, codes) / torch.cdist(x[:100].flatten(1), x[:100].flatten(1))
    ratio = ratio[~torch.eye(100, dtype=torch.bool)] / (500 / 64) ** 0.5
    assert ratio.mean().item() == pytest.approx(1, abs=0.05) and ratio.std() < 0.1
    assert torch.equal(fitted("random-codes", data, latent=500)[0].directions, game.directions)
    assert not torch.equal(fitted("random-codes", data, 1, latent=500)[0].directions, game.directions)


def test_chance_clusters_are_uniform_hang_on_the_item_alone_and_know_no_class() -> None:
    data = load("digits")
    game, x = fitted("chance-clusters", data)
    log_p = game.cluster(x)
    assert torch.equal(game.cluster(x.flip(0)).flip(0).argmax(1), log_p.argmax(1))
    counts = assigned(log_p).bincount(minlength=10)
    assert ((counts - 100).square() / 100).sum() < 28  # chi squared of 9 degrees: 1 in 1000 is above
    # uniform on the simplex: each probability has mean 1/10 and variance 9/1100
    assert torch.allclose(log_p.exp().var(0), torch.full((10,), 9 / 1100, dtype=torch.float64), rtol=0.3)
    table = contingency(assigned(log_p), data.labels["train"][:1000], 10, 10)
    assert table[torch.arange(10), majority(table)].sum() < 250
    near = x.clone()
    near[:, 0, 4, 4] += 1 / 127.5
    assert (game.cluster(near).argmax(1) == log_p.argmax(1)).double().mean() < 0.3


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_has_no_rank(name: str) -> None:
    assert registry.models.get(name).game.role == ("copy" if name == "still-frame" else "reference")


@pytest.mark.parametrize(
    ("suite", "floors"),
    [
        ("digits", {"mean-image", "uniform-noise", "gaussian-blob"}),
        ("mixtures", {"uniform-noise", "gaussian-blob"}),
        ("densities", {"uniform-noise", "gaussian-blob"}),
        ("clustering", {"mean-image", "random-codes", "chance-clusters"}),
        ("clustering-10", {"mean-image", "chance-clusters"}),
        ("clustering-30", {"mean-image", "chance-clusters"}),
        ("video-digits", {"still-frame", "mean-image", "uniform-noise"}),
        ("prediction", {"still-frame"}),
    ],
)
def test_floors_stand_on_the_suites_where_they_say_something(suite: str, floors: set[str]) -> None:
    assert set(expand(read_suite(suite), "quick")) & set(FLOORS) == floors
