"""The semi-supervised GAN: which labels it knows, its losses re-computed, weight norm and its start."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import Game
from ganbench.layers.blocks import WeightNorm
from ganbench.training.batches import scale

SMALL = {"backbone.generator": [6], "backbone.critic": [9, 7, 5], "labels_per_class": 3}
BATCH = 8


def build(data, name: str = "semi-supervised-gan", seed: int = 0, overrides: dict | None = None) -> Game:
    model = registry.models.get(name)
    settings = model.settings({"kind": "mlp"}, SMALL | (overrides or {}))
    game = model.build(data.data_spec, settings, 0).double()
    game.fit(scale(data.images["train"], torch.float64), data.labels["train"], seed)
    return game


def batch(game: Game, data) -> tuple[Tensor, dict[str, Tensor]]:
    like = torch.empty(0, dtype=torch.float64)
    noise = {k: v[0] for k, v in draw(game.noise(), BATCH, [torch.Generator().manual_seed(1)], like).items()}
    noise |= {"y": data.labels["train"][:BATCH]}
    return scale(data.images["train"][:BATCH], torch.float64), noise | game.precompute(noise)


def test_weight_norm_is_that_of_torch_and_survives_vmap():
    layer = nn.Linear(4, 3).double()
    ours = WeightNorm(layer)
    with torch.no_grad():
        ours.gain.copy_(torch.tensor([0.5, 2.0, -1.0]))
    theirs = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3).double())
    with torch.no_grad():
        theirs.parametrizations.weight.original0.copy_(ours.gain[:, None])
        theirs.parametrizations.weight.original1.copy_(ours.direction)
        theirs.bias.copy_(ours.bias)
    x = torch.randn(5, 4, dtype=torch.float64)
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-12)
    stacked, buffers = torch.func.stack_module_state([ours, ours])
    twice = torch.vmap(lambda p, b: torch.func.functional_call(ours, (p, b), (x,)))(stacked, buffers)
    assert torch.allclose(twice, ours(x).expand(2, 5, 3), rtol=0, atol=1e-12)


def test_the_seed_alone_chooses_as_many_labelled_images_of_each_class(tiny):
    data = tiny()
    images = scale(data.images["train"], torch.float64)
    one, same, other = (build(data, seed=seed) for seed in (1, 1, 2))
    assert one.labelled_y.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for image, y in zip(one.labelled_x, one.labelled_y, strict=True):
        places = (images == image).flatten(1).all(1).nonzero()
        assert len(places) == 1 and data.labels["train"][places[0, 0]] == y
    assert len({tuple(image.flatten().tolist()) for image in one.labelled_x}) == 12
    assert torch.equal(one.labelled_x, same.labelled_x) and not torch.equal(one.labelled_x, other.labelled_x)


def test_the_choice_leaves_the_global_random_state_alone(tiny):
    torch.manual_seed(3)
    expected = torch.rand(4)
    game = build(tiny())
    torch.manual_seed(3)
    game.fit(scale(tiny().images["train"], torch.float64), tiny().labels["train"], 5)
    assert torch.equal(torch.rand(4), expected)


def test_more_labels_than_there_are_images_are_an_error(tiny):
    with pytest.raises(
        UserError, match=r"expected labels_per_class=40 training images of class 0, got \d+; ask for"
    ):
        build(tiny(), overrides={"labels_per_class": 40})
    with pytest.raises(UserError, match="needs the labels of the training set"):
        build(tiny()).fit(torch.zeros(4, 1, 8, 8), None, 0)


def test_no_loss_depends_on_the_labels_of_the_batch(tiny):
    data = tiny()
    game = build(data)
    x, noise = batch(game, data)
    for loss in (game.classifier_loss, game.generator_loss):
        assert torch.equal(loss(x, noise), loss(x, noise | {"y": (noise["y"] + 1) % 4}))
        assert torch.equal(loss(x, noise), loss(x, {k: v for k, v in noise.items() if k != "y"}))


def read(game: Game, x: Tensor, blur: Tensor) -> tuple[Tensor, Tensor]:
    """Last hidden layer and logits by hand: noise of 0.3 on pixels in [0, 1] and of 0.5 on hidden layers."""
    out, start = (x.flatten(1) + 1) / 2, 0
    for index, block in enumerate(game.D.blocks):
        hidden, width = out, out.shape[1]
        out = out + (0.5 if index else 0.3) * blur[:, start : start + width]
        start += width
        [layer] = [part for part in block.modules() if isinstance(part, WeightNorm)]
        rows = layer.direction / layer.direction.square().sum(1, keepdim=True).sqrt()
        out = out @ (layer.gain[:, None] * rows).T + layer.bias
        out = out if block is game.D.blocks[-1] else out.clamp(min=0)
    assert start == blur.shape[1]
    return hidden, out


def test_losses_are_those_of_the_released_code(tiny):
    data = tiny()
    game = build(data)
    x, noise = batch(game, data)
    places = noise["order"].sort().indices[:BATCH]
    labelled = read(game, game.labelled_x[places], noise["blur_labelled"])[1]
    (real_hidden, real), (fake_hidden, fake) = (
        read(game, x, noise["blur_real"]),
        read(game, noise["fake"], noise["blur_fake"]),
    )
    normaliser, softplus = (lambda logits: logits.logsumexp(1)), nn.functional.softplus
    known = -labelled.gather(1, game.labelled_y[places][:, None]).mean() + normaliser(labelled).mean()
    unknown = (
        -0.5 * normaliser(real).mean()
        + 0.5 * softplus(normaliser(real)).mean()
        + 0.5 * softplus(normaliser(fake)).mean()
    )
    assert game.classifier_loss(x, noise).item() == pytest.approx((known + unknown).item(), rel=1e-12)
    gap = (real_hidden.mean(0) - fake_hidden.mean(0)).square().mean()
    assert game.generator_loss(x, noise).item() == pytest.approx(gap.item(), rel=1e-12)


def test_classification_is_without_noise_and_image_by_image(tiny):
    data = tiny()
    game = build(data).eval()
    x = scale(data.images["test"][:9], torch.float64)
    logits = game.classify(x)
    assert torch.allclose(logits, read(game, x, torch.zeros(9, sum(game.widths)))[1], rtol=0, atol=1e-12)
    assert torch.allclose(game.classify(x[3:4])[0], logits[3], rtol=0, atol=1e-12)


def test_layers_start_with_mean_0_and_variance_1_under_noise(tiny):
    data = tiny()
    game = build(data, seed=4)
    generator = torch.Generator().manual_seed(4)
    images = scale(data.images["train"], torch.float64)[
        torch.randperm(len(data.images["train"]), generator=generator)
    ]
    blur = torch.randn(len(images), sum(game.widths), generator=generator).double()
    out = (images.flatten(1) + 1) / 2
    for index, (block, part) in enumerate(zip(game.D.blocks, blur.split(game.widths, 1), strict=True)):
        [layer] = [module for module in block.modules() if isinstance(module, WeightNorm)]
        out = out + (0.5 if index else 0.3) * part
        moments = layer(out)
        assert moments.mean(0).abs().max() < 1e-9 and (moments.std(0) - 1).abs().max() < 1e-9
        out = block(out)


def test_only_the_logits_and_the_images_have_gains_that_are_learned(tiny):
    names = {name for name, _ in build(tiny()).named_parameters() if name.endswith("gain")}
    assert names == {"D.blocks.3.1.gain", "G.layers.3.gain"}


def test_the_control_is_the_same_classifier_and_makes_no_images(tiny):
    data = tiny()
    control, game = build(data, "supervised-only"), build(data)
    assert all(torch.equal(value, game.state_dict()[name]) for name, value in control.state_dict().items())
    assert [player.name for player in control.players] == ["classifier"]
    assert {name.split(".")[0] for name, _ in control.named_parameters()} == {"D"}
    # A critic that never saw generated images is no judge of them: no column of samples has a number.
    assert registry.models.get("supervised-only").abilities == ("classify",)


def test_every_labelled_image_is_seen_once_per_pass_over_them(tiny):
    data = tiny()
    game = build(data, "supervised-only", overrides={"labels_per_class": 2})
    x, noise = batch(game, data)
    noise["blur_labelled"] = torch.zeros_like(noise["blur_labelled"])
    loss = cross_entropy(game.classify(game.labelled_x), game.labelled_y)
    assert game.classifier_loss(x, noise).item() == pytest.approx(loss.item(), rel=1e-12)
    twice = {name: part if name == "order" else torch.cat([part, part]) for name, part in noise.items()}
    assert game.classifier_loss(torch.cat([x, x]), twice).item() == pytest.approx(loss.item(), rel=1e-12)


def test_a_few_steps_learn_the_labelled_images(tiny):
    data = tiny()
    game = build(data, "supervised-only", overrides={"backbone.critic": [32, 32]})
    optimiser = torch.optim.Adam(game.D.parameters(), lr=0.01)
    for step in range(60):
        like = torch.empty(0, dtype=torch.float64)
        drawn = draw(game.noise(), 24, [torch.Generator().manual_seed(step)], like)
        noise = {k: v[0] for k, v in drawn.items()}
        optimiser.zero_grad()
        game.classifier_loss(
            scale(data.images["train"][:24], torch.float64), noise | game.precompute(noise)
        ).backward()
        optimiser.step()
    assert cross_entropy(game.classify(game.labelled_x), game.labelled_y) < 0.2
    assert (game.classify(game.labelled_x).argmax(1) == game.labelled_y).all()


def test_another_backbone_is_refused(tiny):
    model = registry.models.get("semi-supervised-gan")
    for override in ({"backbone": {"kind": "conv"}}, {"backbone.keep": [0.5]}):
        with pytest.raises(UserError, match="mlp backbone without dropout"):
            model.build(tiny().data_spec, model.settings({"kind": "mlp"}, override), 0)
