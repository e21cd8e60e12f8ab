"""Conditional GANs: what class an image is made for, and what the discriminator is told of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec, Game
from ganbench.layers.blocks import one_hot
from ganbench.training.batches import scale

DENSE = {"kind": "mlp", "generator": [6], "critic": [5]}
CONV = {"kind": "conv", "width": 4}
KINDS = [("conditional-gan", DENSE), ("conditional-gan", CONV), ("conditional-gan-projection", CONV)]
BATCH = 8


def build(
    name: str, data, backbone: dict, overrides: dict | None = None
) -> tuple[Game, Tensor, dict[str, Tensor]]:
    """A game, a batch of images and its noise with labels, float64."""
    model = registry.models.get(name)
    game = model.build(data.data_spec, model.settings(backbone, overrides or {}), 0).double()
    like = torch.empty(0, dtype=torch.float64)
    noise = {k: v[0] for k, v in draw(game.noise(), BATCH, [torch.Generator().manual_seed(1)], like).items()}
    noise |= {"y": data.labels["train"][:BATCH]}
    return game, scale(data.images["train"][:BATCH], torch.float64), noise | game.precompute(noise)


def test_one_hot_is_that_of_torch_and_survives_vmap():
    y = torch.tensor([[0, 3, 1], [2, 2, 0]])
    expected = torch.nn.functional.one_hot(y, 5).double()
    like = torch.empty(0, dtype=torch.float64)
    assert torch.equal(torch.vmap(lambda row: one_hot(row, 5, like))(y), expected)
    assert one_hot(y[0], 5, like).dtype == torch.float64


@pytest.mark.parametrize(("name", "backbone"), KINDS)
def test_samples_are_conditioned_on_classes_that_the_noise_draws_evenly(name, backbone, tiny):
    game, _, noise = build(name, tiny(), backbone)
    game.eval()
    places = torch.tensor([0.0, 0.2499, 0.25, 0.49, 0.5, 0.74, 0.76, 1.0]).double()[:, None]
    y = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])  # 1.0 stands for a product that rounding carries to 4
    images = game.sample({"z": noise["z"], "class": places})
    assert torch.equal(images, game.condition({"z": noise["z"]}, y))
    others = game.condition({"z": noise["z"]}, (y + 1) % 4)
    assert (images - others).abs().flatten(1).amax(1).min() > 1e-6


def test_the_generator_sees_z_and_the_marked_class(tiny):
    game, _, noise = build("conditional-gan", tiny(), DENSE)
    game.eval()
    y = torch.arange(BATCH) % 4
    seen = torch.cat([noise["z"], torch.eye(4).double()[y]], 1)
    assert torch.equal(game.condition(noise, y), game.G(seen))


@pytest.mark.parametrize(("name", "backbone"), KINDS)
def test_losses_tell_the_discriminator_the_true_class_of_each_side(name, backbone, tiny):
    game, x, noise = build(name, tiny(), backbone)
    asked = (noise["class"][:, 0] * 4).long()
    real, fake = game.judge(x, noise["y"]), game.judge(noise["fake"], asked)
    expected = -0.5 * (real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean())
    assert game.discriminator_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-9)
    assert game.generator_loss(x, noise).item() == pytest.approx(-fake.sigmoid().log().mean().item(), rel=1e-9)
    assert (game.judge(x, noise["y"]) - game.judge(x, (noise["y"] + 1) % 4)).abs().min() > 1e-9
    # No image sees the class of another.
    changed = torch.cat([noise["y"][:-1], (noise["y"][-1:] + 1) % 4])
    assert torch.allclose(game.judge(x, changed)[:-1], real[:-1], rtol=0, atol=1e-12)


def test_class_maps_are_constant_channels(tiny):
    game, x, noise = build("conditional-gan", tiny(3), CONV)
    maps = torch.zeros(BATCH, 4, 8, 8).double()
    maps[range(BATCH), noise["y"]] = 1
    assert torch.allclose(game.judge(x, noise["y"]), game.D(torch.cat([x, maps], 1)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("backbone", [DENSE, CONV])
def test_projection_adds_the_embedding_of_the_class_to_the_head(backbone, tiny):
    game, x, noise = build("conditional-gan-projection", tiny(), backbone)
    features = game.D.features(x)
    found = game.judge(x, noise["y"])[:, 0] - game.D(x)[:, 0]
    weights = game.embedding.weight.T[noise["y"]]
    assert torch.allclose(found, torch.einsum("nf,nf->n", weights, features), rtol=0, atol=1e-12)


def test_mirzas_settings(tiny):
    game, x, noise = build("conditional-gan-2014", tiny(), DENSE)
    assert game.D.mask_size == 68 + 290 + 240 and noise["drop_real"].shape == (BATCH, 598)
    assert game.D.dropout == (1.0, 0.5, 0.5) and noise["z"].min() >= 0 and noise["z"].max() < 1
    assert game.config.simultaneous
    dropped = game.judge(x, noise["y"], noise["drop_real"])
    assert (dropped - game.judge(x, noise["y"])).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["conditional-gan", "semi-supervised-gan"])
def test_data_without_classes_are_refused(name):
    model = registry.models.get(name)
    data_spec = DataSpec("plain", (1, 8, 8), 0, torch.full((1, 8, 8), 0.5))
    with pytest.raises(UserError, match=f"{name} cannot play on plain: .*data with classes"):
        model.build(data_spec, model.settings(DENSE), 0)


def test_projection_refuses_dropout(tiny):
    with pytest.raises(UserError, match="projection critic needs a backbone without dropout"):
        build("conditional-gan-projection", tiny(), DENSE, {"backbone.keep": [0.5]})


def test_vectors_are_conditioned_too():
    model = registry.models.get("conditional-gan")
    game = model.build(DataSpec("ring", (2,), 8, torch.zeros(2)), model.settings(DENSE), 0).eval()
    points = game.condition({"z": torch.randn(5, 100)}, torch.arange(5))
    assert points.shape == (5, 2) and game.judge(points, torch.arange(5)).shape == (5, 1)
