"""BiGAN is the model of its paper: networks, start, halves, whom the losses move, and the penalty of weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.game.contract import DataSpec, Game
from ganbench.losses.adversarial import pair_critic, pair_generator

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
IMAGES = (1, 8, 8)
SMALL = {"backbone.generator": [12, 12], "backbone.critic": [10, 10]}


def build(name: str, shape: tuple[int, ...] = IMAGES, settings: dict | None = None) -> Game:
    model = registry.models.get(name)
    data_spec = DataSpec("tiny", shape, 0, torch.zeros(shape))
    return model.build(data_spec, model.settings(DENSE, settings or {}), seed=1).double()


def inputs(game: Game, n: int = 12) -> tuple[Tensor, dict[str, Tensor]]:
    drawn = draw(game.noise(), n, [torch.Generator().manual_seed(0)], torch.empty(0, dtype=torch.float64))
    noise = {name: value[0] for name, value in drawn.items()}
    x = torch.rand(n, *game.data.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1
    return x, noise | game.precompute(noise)


def normed(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-8).sqrt()


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def test_the_papers_networks():
    game = build("bigan-2017", (1, 28, 28))
    shapes = {name: tuple(value.shape) for name, value in game.named_parameters()}
    wide = (1024, 1024)
    assert shapes == {
        **{"G.first.weight": (1024, 50), "G.second.weight": wide, "G.head.weight": (784, 1024)},
        **{"E.first.weight": (1024, 784), "E.second.weight": wide, "E.head.weight": (50, 1024)},
        **{"D.first.weight": (1024, 784), "D.second.weight": wide, "D.head.weight": (1, 1024)},
        **{"G.skip.weight": (1024, 50), "D.skip.weight": (1024, 50)},
    }  # no bias and no gain anywhere
    for name, value in game.named_parameters():
        if name == "D.head.weight":
            assert not value.any()
        else:
            assert value.std().item() == pytest.approx(0.02, rel=0.05) and abs(value.mean()) < 0.001
    z = game.noise()["z"].fill(torch.empty(4000, 50), torch.Generator().manual_seed(0))
    assert z.min() >= -1 and z.max() < 1 and z.std().item() == pytest.approx(3**-0.5, rel=0.01)


def test_the_papers_networks_by_hand():
    game = build("bigan-2017", settings={**SMALL, "latent": 4})
    nn.init.normal_(game.D.head.weight)
    x, noise = inputs(game)
    z, (g, e, d) = noise["z"], (game.G, game.E, game.D)
    hidden = normed(z @ g.first.weight.T).relu() @ g.second.weight.T + z @ g.skip.weight.T
    fake = 2 * (normed(hidden).relu() @ g.head.weight.T).sigmoid() - 1
    assert torch.allclose(noise["fake"].flatten(1), fake, atol=1e-9)
    pixels = (x.flatten(1) + 1) / 2
    codes = leaky(normed(leaky(pixels @ e.first.weight.T) @ e.second.weight.T)) @ e.head.weight.T
    codes = 2 * codes.sigmoid() - 1
    assert torch.allclose(game.encode(x), codes, atol=1e-9)

    def logits(pixels: Tensor, code: Tensor) -> Tensor:
        hidden = leaky(pixels @ d.first.weight.T) @ d.second.weight.T + code @ d.skip.weight.T
        return leaky(normed(hidden)) @ d.head.weight.T

    q, p = game.judge(x, noise)
    assert torch.allclose(q, logits(pixels, codes), atol=1e-9)
    assert torch.allclose(p, logits((fake + 1) / 2, z), atol=1e-9)


@pytest.mark.parametrize("name", ["bigan", "bigan-2017"])
def test_losses_are_half_those_of_pairs_plus_the_penalty(name):
    game = build(name, settings=SMALL if name == "bigan-2017" else None)
    x, noise = inputs(game)
    q, p = game.judge(x, noise)
    rate = {"bigan": 0.0, "bigan-2017": 2.5e-5}[name]
    penalties = {net: 0.5 * rate * sum(v.square().sum() for v in getattr(game, net).parameters()) for net in "DGE"}
    critic, generator = game.discriminator_loss(x, noise), game.generator_loss(x, noise)
    assert critic.item() == pytest.approx((0.5 * pair_critic(q, p) + penalties["D"]).item(), rel=1e-9)
    expected = 0.5 * pair_generator(q, p) + penalties["G"] + penalties["E"]
    assert generator.item() == pytest.approx(expected.item(), rel=1e-9)
    if name == "bigan-2017":  # its critic starts at 0
        assert (critic - penalties["D"]).item() == pytest.approx(math.log(2), rel=1e-12)
    # The real pair reaches E alone, the generated one G alone.
    for loss, mine, other in ((q, game.E, game.G), (p, game.G, game.E)):
        for net, reached in ((mine, True), (other, False)):
            found = torch.autograd.grad(loss.sum(), list(net.parameters()), retain_graph=True, allow_unused=True)
            assert {gradient is not None for gradient in found} == {reached}


@pytest.mark.parametrize("shape", [IMAGES, (2,)], ids=["image", "vector"])
@pytest.mark.parametrize("name", ["bigan", "bigan-2017"])
def test_codes_lie_in_the_cube_and_decode(name, shape):
    game = build(name, shape, SMALL if name == "bigan-2017" else None).eval()
    x, noise = inputs(game, 5)
    codes = game.encode(100 * x)
    assert codes.shape == (5, 50) and codes.abs().max() <= 1
    assert torch.equal(game.reconstruct(x), game.decode(game.encode(x))) and game.reconstruct(x).shape == x.shape
    assert torch.equal(game.decode(noise["z"]), game.sample(noise))


def test_skip_networks_need_an_mlp():
    from ganbench.errors import UserError

    with pytest.raises(UserError, match="mlp backbone"):
        build("bigan-2017", settings={"backbone": {"kind": "conv", "width": 4}})
