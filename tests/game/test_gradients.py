"""The gradient on which every player steps is that of its loss: the trainer's against central differences.

A tensor that is detached by mistake leaves every value as it is, and only this test sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.distributions.noise import draw
from ganbench.game.contract import Game
from ganbench.game.optimisers import SGD
from ganbench.game.players import Player
from ganbench.layers import Spectral
from ganbench.training.batches import scale
from ganbench.training.stack import labels_for
from ganbench.training.step import Clock, State, TrainStep, start

DENSE = {"kind": "mlp", "generator": [7, 6], "critic": [6, 5]}
TRAINED = [name for name in registry.models.names() if registry.models.get(name).game.players]
# Paths through the losses that no variant takes.
OPTIONS: list[tuple[str, dict[str, object]]] = [
    ("ali", {"critic_noise": 0.1}),
    ("fgan-pearson", {"cost": "alternative"}),
    ("graphical-gan-mixture", {"critic_noise": 0.1, "reconstruction": 0.5}),
    ("graphical-gan-statespace", {"recognition": "inverse"}),
    ("graphical-gan-statespace", {"recognition": "both", "fresh_noise": True}),
    ("unrolled-gan-0", {"saturating": True}),
]
BATCH, H = 12, 1e-7
Values = dict[str, Tensor]
Loss = Callable[[Values], float]


def build(name: str, data: Dataset, options: dict[str, object]) -> Game:
    """Return a game on small networks whose weights are all off their start, float64."""
    model = registry.models.get(name)
    settings = model.settings(DENSE)
    small = (
        {"generator": [7, 6], "critic": [6, 5]}
        if settings["backbone"]["kind"] == "mlp"
        else {"width": 4, "layers": 3}
    )
    few = {"latent": 4, "style": 3, "joint": 6, "hidden": 6, "content": 3, "channels": 4, "pack": 2, "chains": 2}
    few |= {"clusters": 3, "epochs": 1, "generators": 2, "labels_per_class": 2}
    changes: dict[str, object] = {f"backbone.{key}": value for key, value in small.items()}
    changes |= {key: min(value, settings[key]) for key, value in few.items() if key in settings}
    game = model.build(data.data_spec, model.settings(DENSE, changes, options), 0).double().train()
    if type(game).fit is not Game.fit:
        game.fit(scale(data.images["train"], torch.float64), labels_for(game, data), 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in game.parameters():  # a head that starts at 0 would hide what lies behind it
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return game


def batch_of(game: Game) -> Values:
    like = torch.empty(0, dtype=torch.float64)
    drawn = draw(game.noise(), BATCH, [torch.Generator().manual_seed(5)], like)
    labels = {"y": torch.arange(BATCH) % game.data.classes} if game.supervision != "unlabelled" else {}
    return {name: value[0] for name, value in drawn.items()} | labels


def descended(game: Game, x: Tensor, batch: Values) -> dict[str, Values]:
    """Return player -> parameter -> the gradient by which the trainer moves it, all taken at one point."""
    parameters, buffers = stack_module_state([game])
    parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    before = {name: value.detach().clone() for name, value in parameters.items()}
    moments = {
        player.name: start(player, [parameters[name] for name in owned(player, game)]) for player in game.players
    }
    state = State(parameters, buffers, moments, torch.full((1,), -1))
    one, rates = torch.ones((), dtype=torch.float64), torch.ones(len(game.players), dtype=torch.float64)
    clock = Clock(one, one, rates, 0 * rates)
    TrainStep(game, game.players)(state, x[None], {name: value[None] for name, value in batch.items()}, clock)
    return {
        player.name: {name: (before[name] - parameters[name].detach())[0] for name in owned(player, game)}
        for player in game.players
    }


def loss_at(game: Game, player: Player, x: Tensor, batch: Values, patch: pytest.MonkeyPatch) -> Loss:
    """Return a player's loss as a function of its parameters; all else, buffers too, stays as it is.

    What the game detaches moves too, unless it declares that the player's loss is a surrogate: then it is frozen.
    """
    parameters = {name: value.detach() for name, value in game.named_parameters()}

    def loss(mine: Values) -> float:
        def ask(*call: object) -> object:
            buffers = {name: value.clone() for name, value in game.named_buffers()}
            return functional_call(game, (parameters | mine, buffers), call)

        with torch.no_grad():
            shared = ask("precompute", batch)
            assert isinstance(shared, dict)
            return float(ask(f"{player.name}_loss", x, batch | shared))  # type: ignore[arg-type]

    if player.name not in game.surrogates:
        return loss
    tape: list[Tensor] = []

    def record(tensor: Tensor) -> Tensor:
        tape.append(tensor.clone())
        return tape[-1]

    def frozen(mine: Values) -> float:
        left = iter(tape)
        with patch.context() as context:
            context.setattr(Tensor, "detach", lambda tensor: next(left))
            return loss(mine)

    with patch.context() as context:
        context.setattr(Tensor, "detach", record)
        loss({})
    assert tape, f"{player.name} of {game.name} detaches nothing, so its loss is no surrogate"
    return frozen


def owned(player: Player, game: Game) -> list[str]:
    return player.owned(dict(game.named_parameters()))


def networks(names: list[str], game: Game) -> dict[str, list[str]]:
    """Return the parameters of each network: of an attribute, or of one of those that it lists."""
    out: dict[str, list[str]] = {}
    for name in names:
        first, *rest = name.split(".")
        listed = isinstance(getattr(game, first), nn.ModuleDict | nn.ModuleList)
        out.setdefault(f"{first}.{rest[0]}" if listed else first, []).append(name)
    return out


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, {}) for name in TRAINED] + OPTIONS,
    ids=lambda value: " ".join(value) if isinstance(value, dict) else value,
)
def test_players_step_on_the_gradient_of_their_loss(
    name: str, options: dict[str, object], tiny_for: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_for(name)
    game = build(name, data, options)
    game.players = tuple(
        replace(player, optimiser=SGD(1.0), steps=1, boost=0, clip=0.0, unroll=0) for player in game.players
    )
    game.config = replace(game.config, simultaneous=True)
    x, batch = scale(data.images["train"][:BATCH], torch.float64), batch_of(game)
    if any(isinstance(part, Spectral) for part in game.modules()):
        for _ in range(300):  # its vectors count as constants, which is right once they have converged
            game(f"{game.players[0].name}_loss", x, batch | game.precompute(batch))
    found = descended(game, x, batch)
    generator = torch.Generator().manual_seed(3)
    for player in game.players:
        loss = loss_at(game, player, x, batch, monkeypatch)
        for network, mine in networks(owned(player, game), game).items():
            ends = {n: game.get_parameter(n).detach() for n in mine}
            way = {n: torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in ends.items()}
            there, back = (loss({n: ends[n] + sign * H * way[n] for n in mine}) for sign in (1, -1))
            slope = sum((found[player.name][n] * way[n]).sum().item() for n in mine)
            assert slope == pytest.approx((there - back) / (2 * H), rel=1e-3, abs=1e-6), (player.name, network)
            assert abs(slope) > 1e-5, (player.name, network)
