"""The contract of a game in training: seeds together, resuming, who moves what, and the file of weights."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from safetensors.torch import load, save
from torch import Tensor

from ganbench.checks.case import ROUNDS, Case, deviation
from ganbench.checks.result import Fault
from ganbench.game.contract import Game
from ganbench.runs.folder import load as load_weights

SEEDS = (0, 1, 5)
MOVED = 1e-6


def each_player_moves_its_own_parameters(case: Case) -> None:
    """A step must move parameters of the player whose it is, and no others."""
    stack = case.stack(0, 1) if case.model.game.players else None
    for player in stack.game.players if stack else ():
        assert stack is not None
        everybody = stack.game.players
        before = {key: value.detach().clone() for key, value in stack.state.parameters.items()}
        stack.game.players = (player,)
        stack.train_round()
        stack.game.players = everybody
        moved = {key for key, value in stack.state.parameters.items() if not torch.equal(value, before[key])}
        if not moved:
            raise Fault(f"a round of {player.name} moves nothing")
        if others := moved - set(player.owned(before)):
            raise Fault(f"a round of {player.name} moves {sorted(others)[0]}, which is not its own")


def seeds_together_are_seeds_alone(case: Case) -> None:
    """Seeds that are stepped in one call must give the numbers that each gives alone, to 1e-9."""
    if not case.model.game.players:
        return
    together = case.stack(*SEEDS)
    start = together.weights()
    alone = [case.stack(seed) for seed in SEEDS]
    for round_ in range(ROUNDS):
        losses = together.train_round()
        for index, stack in enumerate(alone):
            for player, loss in stack.train_round().items():
                gap = abs(loss.item() - losses[player][index].item())
                if not gap <= 1e-9 * max(1.0, abs(loss.item())):
                    raise Fault(
                        f"{player}_loss of seed {SEEDS[index]} in round {round_} is {loss.item():.12g} alone and"
                        f" {losses[player][index].item():.12g} beside other seeds"
                    )
    for index, stack in enumerate(alone):
        if (gap := deviation(together.weights()[index], stack.weights()[0])) > 1e-9:
            raise Fault(f"weights of seed {SEEDS[index]} differ by {gap:.2g} from those beside other seeds")
        if deviation(together.weights()[index], start[index]) < MOVED:
            raise Fault(f"{ROUNDS} rounds of training change nothing")
    if deviation(together.weights()[0], together.weights()[1]) < MOVED:
        raise Fault("two seeds have the same weights after training")


def resumed_is_straight(case: Case) -> None:
    """A training that goes on from a checkpoint must give the same bits as one without a break."""
    if not case.model.game.players:
        return
    straight, broken = (case.stack(0, 1, dtype=torch.float32) for _ in range(2))
    half = ROUNDS // 2
    for _ in range(half):
        broken.train_round()
    file = io.BytesIO()
    torch.save(broken.saved(), file)
    resumed = case.stack(0, 1, dtype=torch.float32)
    resumed.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for _ in range(half, ROUNDS):
        resumed.train_round()
    for _ in range(ROUNDS):
        straight.train_round()
    for index in range(2):
        for name, value in straight.weights()[index].items():
            if not torch.equal(value, resumed.weights()[index][name]):
                raise Fault(f"{name} is not the same after {ROUNDS} rounds with a break as without")


def weights_survive_a_file(case: Case) -> None:
    """A game that is built anew and given saved weights must answer as the one that saved them."""
    game = case.build(1)
    if game.players:
        stack = case.stack(0, 1)
        stack.train_round()
        load_weights(game, stack.weights()[1])
    weights = {name: value.detach().contiguous() for name, value in game.state_dict().items()}
    other, loaded = case.build(7), load(save(weights))
    if game.players and all(torch.equal(value, weights[name]) for name, value in other.state_dict().items()):
        raise Fault("another seed has the weights of this one after training")
    load_weights(other, loaded)
    if wrong := [name for name, value in other.state_dict().items() if value.dtype != weights[name].dtype]:
        raise Fault(f"{wrong[0]} has another dtype after its weights went through a file")
    name, ask = _last_call(case)
    if not torch.equal(ask(other), ask(game)):
        raise Fault(f"{name} differs after its weights went through a file; what it needs belongs in buffers")


def _last_call(case: Case) -> tuple[str, Callable[[Game], Tensor]]:
    """Return sample, or else a loss, or what a game without these says of items."""
    if calls := case.calls():
        return calls[-1], lambda game: case.call(calls[-1], game)
    asked = [name for name in case.model.abilities if name in ("encode", "cluster", "classify", "reconstruct")]
    if not asked:
        raise Fault("it has no loss, no sample, and nothing to say of an item; give it one of them")
    return asked[0], lambda game: getattr(game.eval(), asked[0])(case.x())
