"""Players that share networks, and a game that keeps a number from step to step: both as plug-in files."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.checks import check_game
from ganbench.checks.case import ROUNDS, Case, deviation, small_settings, tiny_data
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.game.contract import Config, Game
from ganbench.game.optimisers import SGD, Adam
from ganbench.game.players import Player
from ganbench.training.stack import Stack

PLUGINS = Path(__file__).parents[1] / "plugins"
CONV = {"kind": "conv", "width": 4}


@pytest.fixture(params=["aae", "began"])
def case(request: pytest.FixtureRequest, clean_registry: None) -> Case:
    registry.load_plugin(PLUGINS / f"{request.param}.py")
    return Case.of(registry.models.get(request.param))


def play(stack: Stack, rounds: int = ROUNDS) -> list[dict[str, Tensor]]:
    for _ in range(rounds):
        stack.train_round()
    return stack.weights()


@pytest.mark.parametrize("backbone", [{"kind": "mlp"}, CONV], ids=["mlp", "conv"])
def test_the_contract_holds(case: Case, backbone: dict[str, Any]) -> None:
    assert [result for result in check_game(case.model, backbone) if result.fault] == []


@pytest.mark.parametrize("backbone", [{"kind": "mlp"}, CONV], ids=["mlp", "conv"])
def test_seeds_together_are_seeds_alone_to_the_last_digits(case: Case, backbone: dict[str, Any]) -> None:
    case = replace(case, settings=small_settings(case.model, backbone))
    together = play(case.stack(0, 1, 5))
    for weights, seed in zip(together, (0, 1, 5), strict=True):
        assert {value.dtype for name, value in weights.items() if "num_batches" not in name} == {torch.float64}
        assert deviation(weights, play(case.stack(seed))[0]) < 1e-12
    assert deviation(together[0], together[1]) > 1e-3


def test_a_resumed_training_is_straight_to_the_last_bit(case: Case) -> None:
    straight, broken = case.stack(0, 1, dtype=torch.float32), case.stack(0, 1, dtype=torch.float32)
    play(broken, 2)
    file = io.BytesIO()
    torch.save(broken.saved(), file)
    resumed = case.stack(0, 1, dtype=torch.float32)
    resumed.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for one, other in zip(play(resumed, ROUNDS - 2), play(straight), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_compiled_step_is_the_eager_one(case: Case) -> None:
    for one, other in zip(play(case.stack(0, 1, engine="compiled")), play(case.stack(0, 1)), strict=True):
        assert deviation(one, other) < 1e-12


def test_k_follows_its_formula(clean_registry: None) -> None:
    """k becomes k + lambda (gamma L(x) - L(G(z))), within [0, 1]: Berthelot et al. 2017, third line of 3.4."""
    registry.load_plugin(PLUGINS / "began.py")
    case = Case.of(registry.models.get("began"))
    settings = case.settings | {"gain": 0.3, "gamma": 2.0}
    case = replace(case, settings=settings)
    game, x, batch = case.build(), case.x(), case.batch(case.build())
    seen = batch | {key: value.detach() for key, value in game.precompute(batch).items()}
    for _ in range(4):
        with torch.no_grad():
            k, real, fake = game.k.item(), game.error(x).item(), game.error(seen["fake"]).item()
        assert game.discriminator_loss(x, seen).item() == pytest.approx(real - k * fake, rel=1e-9)
        assert game.k.item() == pytest.approx(min(1, max(0, k + 0.3 * (2.0 * real - fake))), rel=1e-9)
    assert 0 < game.k.item() <= 1


def test_plugins_train_and_stand_on_the_leaderboard(
    ganbench: Callable[..., Any], suite: Path, tmp_path: Path, clean_registry: None
) -> None:
    files = [argument for name in ("aae", "began") for argument in ("--plugin", PLUGINS / f"{name}.py")]
    run = ("run", "--suite", suite, "--out", tmp_path, "--device", "cpu", "--models", "aae,began", *files)
    answer = ganbench(*run)
    assert answer.code == 0 and "trained 4 of 4 runs, measured 4" in answer.out, answer.err
    assert "aae" in answer.out and "began" in answer.out


# ---------------------------------------------------------------- two players of one number, in closed form


class Shared(Game):
    """Two players move one number; without a name, so that it is not registered."""

    players = (
        Player("down", nets=("w",), optimiser=SGD(0.1)),
        Player("up", nets=("w",), optimiser=SGD(0.1, momentum=0.5)),
    )

    def __init__(self, data: Any, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.w = nn.Parameter(torch.tensor(1.0))

    def noise(self):
        return {}

    def sample(self, noise):
        raise NotImplementedError

    def down_loss(self, x, batch):
        return self.w.square()

    def up_loss(self, x, batch):
        return -self.w


def shared(config: Config, rounds: int, **options: Any) -> float:
    game = Shared(tiny_data((1, 8, 8)).data_spec, config)
    game.players = tuple(replace(player, **options) for player in game.players)
    stack = Stack([game], [0], tiny_data((1, 8, 8)), "shared", 4, rounds, dtype=torch.float64)
    return play(stack, rounds)[0]["w"].item()


@pytest.mark.parametrize("simultaneous", [False, True])
def test_each_player_keeps_its_own_momentum(simultaneous: bool) -> None:
    w, momentum = 1.0, 0.0
    for _ in range(5):
        w -= 0.1 * 2 * w  # the other gradient is -1 wherever it is taken
        momentum = 0.5 * momentum - 1
        w -= 0.1 * momentum
    assert shared(Config(simultaneous=simultaneous), 5) == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_each_player_is_pulled_to_its_own_average(simultaneous: bool) -> None:
    """The pull is part of the gradient: in simultaneous play both are taken at one point."""
    w, momentum, means, seen = 1.0, 0.0, [1.0, 1.0], 1
    for _ in range(5):
        at = w
        down = 2 * at + 2 * 0.3 * (at - means[0])
        w -= 0.1 * down
        seen += 1
        means[0] += (w - means[0]) / seen
        momentum = 0.5 * momentum - 1 + 2 * 0.3 * ((at if simultaneous else w) - means[1])
        w -= 0.1 * momentum
        means[1] += (w - means[1]) / seen
    assert shared(Config(simultaneous=simultaneous), 5, historical_averaging=0.3) == pytest.approx(w, rel=1e-6)


def test_a_player_that_looks_ahead_sees_what_it_shares_moved() -> None:
    """The first player's loss w^2 at w + 0.1, where the second will have put it: the gradient is 2 (w + 0.1)."""
    game = Shared(tiny_data((1, 8, 8)).data_spec)
    first, second = game.players
    game.players = (replace(first, unroll=1), second)
    stack = Stack([game], [0], tiny_data((1, 8, 8)), "shared", 4, 1, dtype=torch.float64)
    assert play(stack, 1)[0]["w"].item() == pytest.approx(1 - 0.1 * 2 * 1.1 + 0.1, rel=1e-12)


def test_each_adam_counts_its_own_steps(case: Case) -> None:
    stack = case.stack(0)
    play(stack, 2)
    counts = {name: own["count"][0].item() for name, own in stack.state.moments.items()}
    assert set(counts.values()) == {2.0} and len(counts) == len(case.model.game.players)
    assert all(isinstance(player.optimiser, Adam) for player in stack.game.players)


def test_a_parameter_or_a_player_that_is_left_over_is_named(monkeypatch: pytest.MonkeyPatch, tiny: Any) -> None:
    model = registry.models.get("gan")
    critic, generator = model.game.players
    data: Dataset = tiny()
    settings = model.settings({"kind": "mlp"})
    monkeypatch.setattr(model.game, "players", (critic, replace(generator, nets=("D",))))
    with pytest.raises(UserError, match=r"^model gan: every parameter must .*, but G\.\S+ does not$"):
        model.build(data.data_spec, settings, 0)
    players = replace(critic, nets=("D", "G")), replace(generator, nets=("H",))
    monkeypatch.setattr(model.game, "players", players)
    with pytest.raises(UserError, match=r"^model gan: player 'generator' has no parameters; .*\('H',\)"):
        model.build(data.data_spec, settings, 0)
