"""Stacked training against a plain loop of ordinary PyTorch, seed by seed."""

from __future__ import annotations

import math
from collections import Counter
from copy import deepcopy

import pytest
import torch

from ganbench import registry
from ganbench.checks.case import BATCH, ROUNDS, Case, deviation, small_settings
from ganbench.datasets import Dataset
from ganbench.game.contract import Game
from ganbench.records import seed_stream
from ganbench.training.stack import labels_for
from ganbench.training.step import noise_of
from tests.cases import DENSE, TRAINED, cases, representatives


def looks_ahead(name: str) -> bool:
    model = registry.models.get(name)
    return any(player.unroll for player in model.read(model.settings(DENSE))[1])


PLAIN = [name for name in TRAINED if not looks_ahead(name)]  # for the others see test_unrolled.py


def plain_loop(game: Game, data: Dataset, name: str, seed: int) -> Game:
    """Train one seed as a page of ordinary PyTorch would: a module, an optimiser per player, no stacking."""
    game = deepcopy(game).train()
    generator = torch.Generator().manual_seed(seed_stream(data.name, name, seed, "noise"))
    optimisers = {}
    for player in game.players:
        rule, mine = player.optimiser, [game.get_parameter(n) for n in player.owned(dict(game.named_parameters()))]
        optimisers[player.name] = {
            "adam": lambda r, m: torch.optim.Adam(
                m, lr=r.lr, betas=r.betas, eps=r.epsilon, foreach=False, fused=False
            ),
            "sghmc": lambda r, m: torch.optim.Adam(
                m, lr=r.adam.lr, betas=r.adam.betas, foreach=False, fused=False
            ),
            "rmsprop": lambda r, m: torch.optim.RMSprop(m, lr=r.lr, alpha=r.alpha, foreach=False),
            "sgd": lambda r, m: torch.optim.SGD(m, lr=r.lr, momentum=r.momentum, foreach=False),
        }[rule.kind](rule, mine)
    steps = 0

    def step_data():
        nonlocal steps
        per_epoch = 64 // BATCH
        order = torch.Generator().manual_seed(seed_stream(data.name, name, seed, "order", steps // per_epoch))
        place = steps % per_epoch * BATCH
        index = torch.randperm(64, generator=order)[place : place + BATCH]
        steps += 1
        x = data.images["train"][index].double() / 127.5 - 1
        noise = {
            key: law.fill(torch.empty(*([] if law.per_step else [BATCH]), *law.shape).double(), generator)
            for key, law in noise_of(game).items()
        }
        labels = labels_for(game, data)
        return x, noise | ({} if labels is None else {"y": labels[index]})

    def gradients(player, x, batch):
        mine = [game.get_parameter(n) for n in player.owned(dict(game.named_parameters()))]
        return torch.autograd.grad(getattr(game, f"{player.name}_loss")(x, batch), mine, retain_graph=True)

    moves, velocities = Counter(), {}

    def sample(player, values, rate):
        rule = player.optimiser
        mine = [game.get_parameter(n) for n in player.owned(dict(game.named_parameters()))]
        normal = noise[f"force {player.name}"].split([value.numel() for value in values])
        speeds = velocities.setdefault(player.name, [torch.zeros_like(value) for value in values])
        for place, (parameter, value, draw) in enumerate(zip(mine, values, normal, strict=True)):
            push = math.sqrt(2 * rule.friction * rate * rule.temperature) * draw.reshape(value.shape)
            speeds[place] = (1 - rule.friction) * speeds[place] - rate * value + push
            with torch.no_grad():
                parameter += speeds[place]

    def descend(player, values, round_):
        optimiser, rule = optimisers[player.name], player.optimiser
        rate = rule.lr * rule.schedule.factor(round_, ROUNDS)
        moves[player.name] += 1
        if rule.kind == "sghmc" and moves[player.name] > rule.burn_in:
            return sample(player, values, rate)
        for group in optimiser.param_groups:
            group["lr"] = rule.adam.lr if rule.kind == "sghmc" else rate
            if rule.kind == "sgd":
                group["momentum"] = rule.momentum_at(round_)
        for n, value in zip(player.owned(dict(game.named_parameters())), values, strict=True):
            game.get_parameter(n).grad = value
        return optimiser.step()

    for round_ in range(ROUNDS):
        if game.config.simultaneous:
            x, noise = step_data()
            noise |= game.precompute(noise)
            held = [gradients(player, x, noise) for player in game.players]
            for player, values in zip(game.players, held, strict=True):
                descend(player, values, round_)
            continue
        drawn = False
        for player in game.players:
            for step in range(player.steps_at(round_)):
                if player.clip:
                    with torch.no_grad():
                        for n in player.owned(dict(game.named_parameters())):
                            if not player.clip_nets or n.split(".")[0] in player.clip_nets:
                                game.get_parameter(n).clamp_(-player.clip, player.clip)
                if step or not drawn:  # the first step is on the draw at which the player before ended
                    x, noise = step_data()
                    noise |= game.precompute(noise)
                    drawn = True
                descend(player, gradients(player, x, noise), round_)
    return game


@pytest.mark.parametrize(("name", "backbone"), cases(PLAIN, conv=True))
def test_stack_is_a_plain_loop(name, backbone):
    """Also catches an optimiser kernel that ignores the strides of the gradients which vmap returns."""
    case, seeds = Case.of(registry.models.get(name), backbone), (0, 3)
    stack = case.stack(*seeds)
    plain = [plain_loop(case.build(seed), case.data, name, seed) for seed in seeds]
    for _ in range(ROUNDS):
        stack.train_round()
    assert stack.position >= ROUNDS
    for index, game in enumerate(plain):
        assert {p.dtype for p in game.parameters()} == {torch.float64}
        assert deviation(stack.weights()[index], game.state_dict()) < 1e-9


def test_every_optimiser_and_both_orders_of_play_are_among_these_models():
    models = [registry.models.get(name) for name in representatives(PLAIN)]
    typed = [model.read(small_settings(model)) for model in models]
    kinds = {player.optimiser.kind for _, players in typed for player in players}
    assert kinds == {"adam", "rmsprop", "sgd", "sghmc"}
    assert {config.simultaneous for config, _ in typed} == {True, False}
