"""Options that any game can take, data without pixels, labels, and what is kept from the training set."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.distributions.noise import Normal
from ganbench.errors import UserError
from ganbench.game import SGD, Player
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.records import NonNegative
from ganbench.training.stack import Stack
from ganbench.training.step import Clock, TrainStep

DENSE = {"kind": "mlp", "generator": [7], "critic": [6], "generator_norm": "none"}
SPLITS = ("train", "validation", "test")


@pytest.fixture
def vectors() -> Dataset:
    """Vectors far outside [-1, 1] whose label is their row."""
    x = torch.arange(80, dtype=torch.float32).reshape(40, 2) * 3 - 50
    labels = torch.arange(40)
    return Dataset("rows", dict.fromkeys(SPLITS, x), dict.fromkeys(SPLITS, labels), classes=40)


def gan(data: Dataset, seeds: int = 1, **settings: object) -> Stack:
    model = registry.models.get("gan")
    typed = model.settings(DENSE, {"latent": 3, "generator.optimiser": {"kind": "sgd", "lr": 1.0}}, settings)
    games = [model.build(data.data_spec, typed, seed) for seed in range(seeds)]
    return Stack(games, range(seeds), data, "gan", 8, 10, dtype=torch.float64)


# ---------------------------------------------------------------- vectors, labels, buffers


def test_vectors_are_played_as_they_are(vectors: Dataset) -> None:
    assert vectors.data_spec.shape == (2,) and not vectors.data_spec.bounded
    assert torch.allclose(vectors.data_spec.mean, vectors.images["train"].mean(0))
    stack = gan(vectors, seeds=2)
    stack.batches.seek(0)
    x, labels = stack.batches.get(torch.float64)
    assert x.shape == (2, 8, 2) and x.abs().max() > 5 and labels == {}
    assert all(row.tolist() in vectors.images["train"].tolist() for row in x[0])
    stack.train_round()
    game = stack.game
    game.load_state_dict(stack.weights()[0])
    with torch.no_grad():
        game.G.layers[-1].bias.fill_(40.0)
    assert game.double().sample({"z": torch.zeros(1, 3, dtype=torch.float64)}).min() > 10  # no tanh


class Watcher(Game):
    """Loses its distance to the label of x, so that the loss tells whether labels and vectors belong together."""

    supervision = "labelled"
    players = (Player("watcher", nets=("a",), optimiser=SGD(0.0001)),)

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.a = nn.Parameter(torch.zeros(()))
        self.register_buffer("kept", torch.zeros(2))

    def noise(self):
        return {"z": Normal(1)}

    def sample(self, noise):
        return noise["z"]

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        assert labels is not None
        self.kept = images[labels == seed % 40][0]

    def watcher_loss(self, x: Tensor, batch) -> Tensor:
        own = (x[:, 0] + 50) / 6
        return (own - batch["y"]).abs().sum() + 0 * self.a + (self.kept * 0).sum()


def test_labels_come_with_their_vectors(vectors: Dataset) -> None:
    stack = Stack([Watcher(vectors.data_spec) for _ in range(2)], [0, 1], vectors, "watcher", 8, 10)
    for _ in range(7):
        assert stack.train_round()["watcher"].abs().max() < 1e-5
    assert stack.batches.get(torch.float32)[1]["y"].unique().numel() > 4


def test_a_game_of_labels_says_that_there_are_none(vectors: Dataset) -> None:
    blind = replace(vectors, labels={}, classes=0)
    with pytest.raises(UserError, match="labels, which rows does not have"):
        Stack([Watcher(blind.data_spec)], [0], blind, "blind", 8, 10)


# ---------------------------------------------------------------- instance noise


def test_instance_noise_falls_linearly_on_both_sides(vectors: Dataset) -> None:
    noisy, plain = gan(vectors, instance_noise=2.0), gan(vectors)
    assert {"instance_real", "instance_fake"} <= set(noisy.laws) and "instance_real" not in plain.laws
    generator = torch.Generator().manual_seed(0)
    x, real, fake = (torch.randn(1, 8, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    z = {"z": torch.randn(1, 8, 3, generator=generator, dtype=torch.float64)}
    game, names = plain.game, dict(plain.state.parameters)
    game.load_state_dict({n: p[0].detach() for n, p in names.items()})
    for left in (1.0, 0.25, 0.0):
        zeros = torch.zeros(2, dtype=torch.float64)
        clock = Clock(zeros[0] + 1, zeros[0] + left, zeros, zeros)
        noise = z | {"instance_real": real, "instance_fake": fake}
        losses = TrainStep(noisy.game, noisy.game.players)(noisy.state, x, noise, clock)
        with torch.no_grad():
            made = game.sample({"z": z["z"][0]}) + 2 * left * fake[0]
            expected = game.discriminator_loss(x[0] + 2 * left * real[0], {"fake": made})
            cost = game.generator_loss(x[0], {"fake": made})
        assert losses["discriminator"].item() == pytest.approx(expected.item(), rel=1e-12)
        assert losses["generator"].item() == pytest.approx(cost.item(), rel=1e-12)


def test_instance_noise_ends_at_a_round_before_nothing(vectors: Dataset) -> None:
    stack = gan(vectors, instance_noise=1.0)
    left = []
    for _ in range(10):
        stack.train_round()
        left.append(round(stack._clock.left.item(), 12))
    assert left == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


# ---------------------------------------------------------------- feature matching


def test_feature_matching_takes_its_share_of_the_loss(vectors: Dataset) -> None:
    losses = {}
    for share in (0.0, 0.25, 0.999999):
        stack = gan(vectors, **{"generator.feature_matching": share})
        losses[share] = stack.train_round()["generator"].item()
    assert losses[0.25] == pytest.approx(0.75 * losses[0.0] + 0.25 * losses[0.999999], rel=1e-5)
    stack = gan(vectors, **{"generator.feature_matching": 0.999999, "discriminator.optimiser.lr": 1e-30})
    game = stack.game
    weights = stack.weights()[0]
    stack.batches.seek(0)
    x = stack.batches.get(torch.float64)[0][0]
    found = stack.train_round()["generator"].item()
    game.load_state_dict(weights)
    z = torch.empty(8, 3, dtype=torch.float64).normal_(generator=_noise_of("rows", "gan", 0))
    with torch.no_grad():
        hidden = [nn.Sequential(*game.D.blocks[:-1])(batch).mean(0) for batch in (x, game.G(z))]
    assert found == pytest.approx((hidden[0] - hidden[1]).square().mean().item(), rel=1e-5)


def _noise_of(*stream: str | int) -> torch.Generator:
    from ganbench.records import seed_stream

    return torch.Generator().manual_seed(seed_stream(*stream, "noise"))


def test_feature_matching_without_a_critic_is_an_error(vectors: Dataset) -> None:
    with pytest.raises(UserError, match="feature_matching of discriminator needs a critic"):
        gan(vectors, **{"discriminator.feature_matching": 0.5}).train_round()


# ---------------------------------------------------------------- historical averaging


@dataclass(frozen=True)
class Weight(Config):
    weight: NonNegative = 0.0
    "of the average"


class Orbit(Game):
    """The authors' toy: value (f(x) - 1)(y - 1) with f(x) = x below 0 and x^2 above. Salimans et al. 2016, 3.3."""

    def __init__(self, data: DataSpec, config: Weight = Weight(simultaneous=True)) -> None:
        super().__init__(data, config)
        self.players = tuple(
            Player(name, nets=(net,), optimiser=SGD(0.05), historical_averaging=config.weight)
            for name, net in (("least", "x"), ("most", "y"))
        )
        self.x, self.y = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(0.5))

    def noise(self):
        return {}

    def sample(self, noise):
        raise NotImplementedError

    def value(self) -> Tensor:
        return (torch.where(self.x < 0, self.x, self.x**2) - 1) * (self.y - 1)

    def least_loss(self, x, batch):
        return self.value()

    def most_loss(self, x, batch):
        return -self.value()


def orbit(data: Dataset, weight: float, rounds: int) -> list[tuple[float, float]]:
    games = [Orbit(data.data_spec, Weight(simultaneous=True, weight=weight))]
    stack = Stack(games, [0], data, "orbit", 8, rounds, dtype=torch.float64)
    path = []
    for _ in range(rounds):
        stack.train_round()
        path.append((stack.weights()[0]["x"].item(), stack.weights()[0]["y"].item()))
    return path


def test_historical_averaging_is_its_formula(vectors: Dataset) -> None:
    point, past, expected = torch.tensor([1.5, 0.5]).double(), [torch.tensor([1.5, 0.5]).double()], []
    for _ in range(6):
        x, y = point
        slope = torch.stack([2 * x * (y - 1), -(x**2 - 1)]) + 2 * 0.7 * (point - torch.stack(past).mean(0))
        point = point - 0.05 * slope
        past.append(point)
        expected.append(point)
    for found, wanted in zip(orbit(vectors, 0.7, 6), expected, strict=True):
        assert found == pytest.approx(tuple(wanted.tolist()), rel=1e-12)


def test_historical_averaging_ends_the_orbit(vectors: Dataset) -> None:
    def distance(point: tuple[float, float]) -> float:
        return ((point[0] - 1) ** 2 + (point[1] - 1) ** 2) ** 0.5

    plain, averaged = (orbit(vectors, weight, 400) for weight in (0.0, 0.7))
    assert not distance(plain[-1]) < distance(plain[0])  # it leaves, perhaps beyond all numbers
    assert distance(averaged[-1]) < 0.1 * distance(averaged[0])


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("veegan", {"generator.feature_matching": 0.5}, "that of veegan judges pairs"),
        ("conditional-gan", {"generator.feature_matching": 0.5}, "that of a conditional GAN sees labels"),
        ("gmmn-ae", {"instance_noise": 0.5}, "instance_noise needs a game whose players share"),
    ],
)
def test_an_option_that_means_nothing_for_a_game_is_refused(vectors, model, settings, message) -> None:
    registered = registry.models.get(model)
    game = registered.build(vectors.data_spec, registered.settings(DENSE, settings), 0)
    with pytest.raises(UserError, match=message):
        Stack([game], [0], vectors, model, 8, 10).train_round()


def test_pure_feature_matching_leaves_the_cost_out(vectors: Dataset) -> None:
    nearly, pure = (
        gan(vectors, **{"generator.feature_matching": share}).train_round()["generator"].item()
        for share in (1 - 1e-9, 1.0)
    )
    assert pure == pytest.approx(nearly, rel=1e-6)
