"""Schedules of steps, learning rates and momentum have their closed forms."""

from __future__ import annotations

import math

import pytest

from ganbench import registry
from ganbench.game.optimisers import SGD, SGHMC, Adam, RMSprop
from ganbench.game.players import Player
from ganbench.game.schedules import Constant, Decay, LinearDecay
from ganbench.records import from_json, to_json


def test_steps_follow_the_released_wgan_schedule():
    critic = registry.models.get("wgan").game.players[0]
    boosted = [round_ for round_ in range(1501) if critic.steps_at(round_) == 100]
    assert boosted == [*range(25), 500, 1000, 1500]
    assert {critic.steps_at(round_) for round_ in range(1501)} == {5, 100}
    assert [Player("p", ("n",), steps=3).steps_at(r) for r in (0, 500)] == [3, 3]


def test_schedules_have_their_closed_forms():
    assert {Constant().factor(r, 10) for r in range(10)} == {1.0}
    decay = Decay(divisor=1.000004, floor=1e-5)
    assert decay.factor(0, 1) == 1
    assert decay.factor(100_000, 1) == pytest.approx(math.exp(-100_000 * math.log(1.000004)), rel=1e-12)
    assert decay.factor(10_000_000, 1) == 1e-5
    assert [LinearDecay().factor(r, 4) for r in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [LinearDecay(start=0.5).factor(r, 4) for r in range(4)] == [1.0, 1.0, 1.0, 0.5]


def test_momentum_rises_linearly_then_stays():
    ramp = SGD(momentum=0.5, final_momentum=0.7, ramp=10)
    assert [ramp.momentum_at(r) for r in (0, 5, 10, 1000)] == pytest.approx([0.5, 0.6, 0.7, 0.7])
    assert SGD(momentum=0.3, final_momentum=0.9).momentum_at(50) == 0.3


@pytest.mark.parametrize(
    "optimiser", [Adam(), RMSprop(), SGD(schedule=Decay()), SGHMC(burn_in=3), Adam(schedule=LinearDecay(0.5))]
)
def test_rules_survive_json(optimiser):
    assert from_json(Player, to_json(Player("p", ("n",), optimiser))) == Player("p", ("n",), optimiser)
