"""Relativistic pairing GAN: its losses on known logits, penalties in closed form, and the corners of its 2 x 2."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec, Game
from ganbench.losses import relativistic_discriminator, relativistic_generator

DENSE = {"kind": "mlp", "generator": [7], "critic": [6], "generator_norm": "none"}
PLANE = DataSpec("plane", (2,), 0, torch.zeros(2))


def build(name: str, backbone: dict = DENSE, **settings: object) -> Game:
    model = registry.models.get(name)
    return model.build(
        PLANE, model.settings(backbone, {"latent": 3} if name != "gan" else {}, settings), 0
    ).double()


def batch(game: Game) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    x, z = (torch.randn(9, size, generator=generator, dtype=torch.float64) for size in (2, 3))
    return x, {"z": z, "fake": game.sample({"z": z}).detach()}


def test_losses_compare_each_real_example_with_the_fake_of_its_pair() -> None:
    real, fake = torch.tensor([[2.0], [0.0]]).double(), torch.tensor([[-1.0], [1.0]]).double()
    expected = (math.log1p(math.exp(-3)) + math.log1p(math.exp(1))) / 2
    assert relativistic_discriminator(real, fake).item() == pytest.approx(expected, rel=1e-12)
    expected = (math.log1p(math.exp(3)) + math.log1p(math.exp(-1))) / 2
    assert relativistic_generator(real, fake).item() == pytest.approx(expected, rel=1e-12)
    # A level that both logits share says nothing.
    assert relativistic_discriminator(real + 5, fake + 5).item() == pytest.approx(
        relativistic_discriminator(real, fake).item(), rel=1e-12
    )


@pytest.mark.parametrize("name", ["rpgan-r1r2", "rpgan", "gan-r1r2"])
def test_losses_on_a_linear_critic_are_a_plain_recomputation(name: str) -> None:
    game = build(name, {**DENSE, "critic": []})
    x, noise = batch(game)
    [layer] = [part for part in game.D.modules() if isinstance(part, nn.Linear)]
    w, b = layer.weight[0], layer.bias[0]
    real, fake = x @ w + b, noise["fake"] @ w + b
    if name == "gan-r1r2":
        critic = -(real.sigmoid().log() + (1 - fake.sigmoid()).log()).mean()
        cost = -fake.sigmoid().log().mean()
    else:
        critic = -(real - fake).sigmoid().log().mean()
        cost = -(fake - real).sigmoid().log().mean()
    gamma = 0.0 if name == "rpgan" else 1.0
    critic = critic + gamma / 2 * (w @ w) + gamma / 2 * (w @ w)  # the slope of a linear critic is w everywhere
    assert game.discriminator_loss(x, noise).item() == pytest.approx(critic.item(), rel=1e-12)
    assert game.generator_loss(x, noise).item() == pytest.approx(cost.item(), rel=1e-12)


def test_r1_is_at_the_data_and_r2_at_the_fakes() -> None:
    plain, one, two = (build("rpgan-r1r2", r1=r1, r2=r2) for r1, r2 in ((0.0, 0.0), (0.6, 0.0), (0.0, 0.6)))
    x, noise = batch(plain)
    for game, where in ((one, x), (two, noise["fake"])):
        points = where.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(game.D(points).sum(), points)
        found = game.discriminator_loss(x, noise) - plain.discriminator_loss(x, noise)
        assert found.item() == pytest.approx(0.3 * slopes.square().sum(1).mean().item(), rel=1e-9)


def test_the_fourth_corner_is_the_plain_gan() -> None:
    corner, gan = build("gan-r1r2", r1=0.0, r2=0.0), build("gan", latent=3)
    gan.load_state_dict(corner.state_dict())
    x, noise = batch(corner)
    assert corner.generator_loss(x, noise).item() == gan.generator_loss(x, noise).item()
    assert corner.discriminator_loss(x, noise).item() == pytest.approx(2 * gan.discriminator_loss(x, noise).item())


def test_penalties_refuse_critics_that_see_the_batch() -> None:
    conv = {"kind": "conv", "width": 4, "critic_norm": True}
    model = registry.models.get("rpgan-r1r2")
    data = DataSpec("images", (1, 8, 8), 0, torch.zeros(1, 8, 8))
    with pytest.raises(UserError, match="a gradient penalty needs"):
        model.build(data, model.settings(conv), 0)
    plain = registry.models.get("rpgan")
    assert plain.build(data, plain.settings(conv), 0) is not None
