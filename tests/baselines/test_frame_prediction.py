"""Prediction of the next frame from the two before it, with and without an adversary."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from ganbench import registry
from ganbench.game.contract import Game

DENSE = {"kind": "mlp", "generator": [7], "critic": [6], "generator_norm": "none"}


def built(name: str, data, **settings: object) -> tuple[Game, Tensor]:
    """A game on sequences of five frames, and three of them."""
    model = registry.models.get(name)
    game = model.build(data.data_spec, model.settings(DENSE, settings), 0).double()
    return game, data.images["train"][:3].double() / 127.5 - 1


def errors(x: Tensor, predicted: list[Tensor]) -> Tensor:
    """The squared errors of all frames but the first, summed over pixels."""
    return torch.stack([(x[:, t + 1] - frame).square().sum((1, 2, 3)) for t, frame in enumerate(predicted)])


def past(x: Tensor, t: int) -> Tensor:
    """The two frames before frame t, side by side as channels; before the second frame the first, twice."""
    return torch.cat([x[:, max(t - 2, 0)], x[:, t - 1]], 1)


def test_a_frame_is_predicted_from_the_two_before_it(tiny) -> None:
    game, x = built("frame-prediction-mse", tiny(frames=5), fidelity=0.5)
    with torch.no_grad():
        frames = [game.P(past(x, t).flatten(1)) for t in range(1, 5)]
        assert torch.allclose(game.predict(x), torch.stack(frames, 1))
        assert game.predictor_loss(x, {}).item() == pytest.approx(0.5 * errors(x, frames).mean().item())


def test_sequences_go_on_from_their_last_two_frames(tiny) -> None:
    data = tiny(frames=5)
    game, x = built("frame-prediction-mse", data)
    game.fit(x, None, 0)
    with torch.no_grad():
        made = game.extrapolate({"place": torch.tensor([[0.4]], dtype=torch.float64)}, 6)
        assert torch.equal(made[0, :2], x[1, :2])
        for t in range(2, 6):
            assert torch.allclose(made[:, t], game.P(past(made, t).flatten(1)))


def test_the_adversary_judges_a_frame_with_its_past(tiny) -> None:
    game, x = built("frame-prediction-gan", tiny(frames=5), fidelity=0.25)
    with torch.no_grad():
        frames = [game.P(past(x, t).flatten(1)) for t in range(1, 5)]
        real = torch.cat([game.D(torch.cat([past(x, t), x[:, t]], 1)) for t in range(1, 5)])
        fake = torch.cat([game.D(torch.cat([past(x, t), frames[t - 1]], 1)) for t in range(1, 5)])
        halved = 0.5 * (softplus(-real) + softplus(fake)).mean().item()
        assert game.discriminator_loss(x, {}).item() == pytest.approx(halved)
        own = 0.25 * errors(x, frames).mean().item() + softplus(-fake).mean().item()
        assert game.predictor_loss(x, {}).item() == pytest.approx(own)
