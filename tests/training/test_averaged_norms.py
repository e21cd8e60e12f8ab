"""Averaged weights and batch norms: moments that belong to the weights that are evaluated."""

from __future__ import annotations

import torch
from torch import nn

from ganbench import registry
from ganbench.training.stack import Stack

NORMED = {"kind": "mlp", "generator": [12, 12], "critic": [10], "generator_norm": "batch"}


def stack(tiny, ema: float, seeds: tuple[int, ...] = (0, 1), rounds: int = 30) -> Stack:
    model = registry.models.get("gan")
    rates = {f"{player}.optimiser.lr": 0.1 for player in ("discriminator", "generator")}
    data = tiny()
    games = [model.build(data.data_spec, model.settings(NORMED, rates), seed) for seed in seeds]
    made = Stack(games, seeds, data, "gan", 16, rounds, ema=ema, dtype=torch.float64)
    for _ in range(rounds):
        made.train_round()
    return made


def test_batch_norms_have_the_moments_of_the_weights_that_are_evaluated(tiny):
    made = stack(tiny, 0.99)
    name = "G.layers.4"
    for index, weights in enumerate(made.weights()):
        made.game.load_state_dict(weights)
        norm = made.game.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm1d)
        seen: list[torch.Tensor] = []
        norm.register_forward_hook(lambda part, inputs, out, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            made.game.eval().sample({"z": torch.randn(20_000, made.game.config.latent, dtype=torch.float64)})
        mean, std = seen[0].mean(0), seen[0].std(0)
        stale = (made.state.buffers[f"{name}.running_mean"][index] - mean).abs() / std
        assert ((norm.running_mean - mean).abs() / std).mean() < 0.12 < stale.mean()  # 20 batches of 16: .06


def test_taking_moments_changes_nothing_of_the_training(tiny):
    watched, unwatched = stack(tiny, 0.9, rounds=10), stack(tiny, 0.9, rounds=10)
    before = watched.weights()
    for _ in range(5):
        watched.train_round()
        watched.weights()
        unwatched.train_round()
    for one, other in zip(watched.weights(), unwatched.weights(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(before[0][name], watched.weights()[0][name]) for name in before[0])


def test_seeds_together_take_the_moments_of_each_alone(tiny):
    together = stack(tiny, 0.9).weights()
    for index, seed in enumerate((0, 1)):
        [alone] = stack(tiny, 0.9, (seed,)).weights()
        assert all(torch.allclose(together[index][n], alone[n], rtol=0, atol=1e-10) for n in alone)
