"""The order of play, clipping and averaged weights, in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganbench.datasets import Dataset
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.game.optimisers import SGD
from ganbench.game.players import Player
from ganbench.training.stack import Stack


class Bilinear(Game):
    """min over a, max over b of ab; without a name, so that it is not registered."""

    players = (
        Player("first", nets=("a",), optimiser=SGD(0.1)),
        Player("second", nets=("b",), optimiser=SGD(0.1)),
    )

    def __init__(self, data: DataSpec, config: Config = Config(), a: float = 1.0, b: float = 1.0) -> None:
        super().__init__(data, config)
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def noise(self):
        return {}

    def sample(self, noise):
        raise NotImplementedError

    def first_loss(self, x, batch):
        return self.a * self.b

    def second_loss(self, x, batch):
        return -self.a * self.b


STARTS = [(1.0, 1.0), (-0.5, 2.0)]


def bilinear(data: Dataset, simultaneous: bool, rounds: int = 20) -> list[tuple[float, float]]:
    games = [Bilinear(data.data_spec, Config(simultaneous=simultaneous), *start) for start in STARTS]
    stack = Stack(games, [0, 1], data, "bilinear", 4, rounds, dtype=torch.float64)
    for _ in range(rounds):
        stack.train_round()
    return [(w["a"].item(), w["b"].item()) for w in stack.weights()]


def test_simultaneous_gradients_are_taken_at_one_point(tiny):
    for start, end in zip(STARTS, bilinear(tiny(), simultaneous=True), strict=True):
        # one step multiplies a + ib by 1 + i eta
        expected = complex(*start) * (1 + 0.1j) ** 20
        assert end == pytest.approx((expected.real, expected.imag), rel=1e-12)


def test_alternating_gradients_see_the_other_players_step(tiny):
    for (a, b), end in zip(STARTS, bilinear(tiny(), simultaneous=False), strict=True):
        invariant = a * a + b * b - 0.1 * a * b
        for _ in range(20):
            a -= 0.1 * b
            b += 0.1 * a
        assert end == pytest.approx((a, b), rel=1e-12)
        assert a * a + b * b - 0.1 * a * b == pytest.approx(invariant, rel=1e-12)


class Climb(Bilinear):
    """Both players climb at slope 1 without end: only the clip holds them."""

    players = (
        Player("first", nets=("a",), optimiser=SGD(0.1)),
        Player("second", nets=("b",), optimiser=SGD(0.1), clip=0.5),
    )

    def first_loss(self, x, batch):
        return self.a * self.b

    def second_loss(self, x, batch):
        return -self.b


@pytest.mark.parametrize("simultaneous", [False, True])
def test_weights_are_clipped_before_the_gradients_of_a_step(tiny, simultaneous):
    data = tiny()
    stack = Stack([Climb(data.data_spec, Config(simultaneous=simultaneous), 0.0, 3.0)], [0], data, "climb", 4, 9)
    stack.train_round()
    weights = stack.weights()[0]
    assert weights["b"].item() == pytest.approx(0.6)  # 3 is cut to 0.5, then a step of 0.1
    # alternating: the first player still saw 3; simultaneous: all gradients are those after the cut
    assert weights["a"].item() == pytest.approx(-0.05 if simultaneous else -0.3)


def test_averaged_weights_follow_the_closed_form(tiny):
    data = tiny()
    games = [Bilinear(data.data_spec, Config(), *start) for start in STARTS]
    stack = Stack(games, [0, 1], data, "bilinear", 4, 5, ema=0.9, dtype=torch.float64)
    expected = [start[0] for start in STARTS]
    for _ in range(5):
        stack.train_round()
        expected = [0.9 * e + 0.1 * a for e, a in zip(expected, stack.state.parameters["a"].tolist(), strict=True)]
    assert [stack.weights()[i]["a"].item() for i in range(2)] == pytest.approx(expected, rel=1e-12)
    assert stack.weights()[0]["a"].item() != stack.state.parameters["a"][0].item()
