"""Norms of the generator and minibatch discrimination: formulas by plain loops, and which examples see which."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.game.contract import DataSpec
from ganbench.layers.blocks import MinibatchDiscrimination, ReferenceNorm, Spectral
from ganbench.layers.networks import MLP, Conv
from ganbench.training.stack import Stack

SHAPE = (3, 8, 8)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def backbone(kind: str, norm: str) -> MLP | Conv:
    if kind == "mlp":
        return MLP(generator=(9, 7), generator_norm=norm, reference=6)
    return Conv(width=4, generator_norm=norm, reference=6, init=0.3)


# ---------------------------------------------------------------- reference and virtual batch norm


def by_hand(x: Tensor, count: int, virtual: bool, gain: Tensor, shift: Tensor) -> Tensor:
    """The recipe of Salimans et al., one example, channel and cell at a time, from raw second moments."""
    out = torch.empty_like(x)
    flat, result = x.reshape(*x.shape[:2], -1), out.reshape(*x.shape[:2], -1)
    share = 1 / (count + 1)
    for c in range(x.shape[1]):
        values = [v for example in flat[:count, c].tolist() for v in example]
        mean, square = sum(values) / len(values), sum(v * v for v in values) / len(values)
        for i in range(len(x)):
            m, s = mean, square
            if virtual and i >= count:
                own = flat[i, c].tolist()
                m = share * sum(own) / len(own) + (1 - share) * mean
                s = share * sum(v * v for v in own) / len(own) + (1 - share) * square
            result[i, c] = (flat[i, c] - m) / (s - m * m + 1e-5) ** 0.5 * gain[c] + shift[c]
    return out


@pytest.mark.parametrize("virtual", [False, True], ids=["reference", "virtual"])
@pytest.mark.parametrize("cells", [(), (2, 3)], ids=["dense", "images"])
def test_formula(virtual, cells):
    layer = ReferenceNorm(4, 5, virtual).double()
    with torch.no_grad():
        layer.weight.copy_(normal(4, seed=1))
        layer.bias.copy_(normal(4, seed=2))
    x = 3 * normal(5 + 7, 4, *cells) + torch.arange(12.0).reshape(12, *[1] * (1 + len(cells)))
    expected = by_hand(x, 5, virtual, layer.weight, layer.bias)
    assert torch.allclose(layer(x), expected, rtol=1e-10, atol=1e-10)


def test_virtual_norm_of_a_large_mean_does_not_cancel():
    layer = ReferenceNorm(1, 64, virtual=True)
    x = 1e4 + normal(64 + 32, 1).float()  # in single precision E[x^2] - mean^2 would be noise of the size of 8
    spread = layer(x)[64:].std().item()
    assert spread == pytest.approx(layer(x - 1e4)[64:].std().item(), rel=1e-2)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("norm", ["batch", "reference", "virtual", "none"])
def test_only_batch_norm_ties_the_examples_of_a_batch(norm, kind, training):
    generator = backbone(kind, norm).make_generator(5, SHAPE).double().train(training)
    z = normal(4, 5)
    first = generator(z)[0]
    other = generator(torch.cat([z[:1], normal(3, 5, seed=9)]))[0]
    gap = (first - other).abs().max().item()
    assert first.std() > 0
    assert gap > 1e-3 if norm == "batch" and training else gap < 1e-12


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("norm", ["reference", "virtual"])
def test_generator_is_the_plain_network_on_reference_and_batch(norm, kind):
    generator = backbone(kind, norm).make_generator(5, SHAPE).double()
    assert generator.reference.shape == (6, 5) and generator.reference.dtype == torch.float64
    assert "reference" in generator.state_dict() and "reference" not in dict(generator.named_parameters())
    z = normal(4, 5)
    h = torch.cat([generator.reference, z])
    for layer in generator.layers:
        h = (
            by_hand(h, 6, norm == "virtual", layer.weight, layer.bias)
            if isinstance(layer, ReferenceNorm)
            else layer(h)
        )
    assert torch.allclose(generator.logits(z), h[6:].reshape(4, *SHAPE), rtol=1e-9, atol=1e-9)
    assert sum(isinstance(layer, ReferenceNorm) for layer in generator.layers) == (2 if kind == "mlp" else 1)


def test_the_reference_batch_comes_from_the_seed_and_only_where_it_is_needed():
    def reference(norm: str, seed: int) -> Tensor | None:
        torch.manual_seed(seed)
        return MLP(generator=(9,), generator_norm=norm, reference=4000).make_generator(2, (2,)).reference

    first = reference("virtual", 1)
    assert torch.equal(first, reference("virtual", 1)) and not torch.equal(first, reference("virtual", 2))
    assert first.mean().abs() < 0.05 and first.std().item() == pytest.approx(1, abs=0.05)
    assert reference("batch", 1) is None and reference("none", 1) is None


# ---------------------------------------------------------------- minibatch discrimination


def test_minibatch_discrimination_by_plain_loops():
    layer = MinibatchDiscrimination(nn.Linear(6, 4 * 3, bias=False), 3).double()
    f = 0.5 * normal(5, 6)
    out = layer(f)
    assert out.shape == (5, 6 + 4) and torch.equal(out[:, :6], f)
    tensor = layer.project.weight.reshape(4, 3, 6)  # T: kernel, number, feature
    for i in range(5):
        for b in range(4):
            total = 0.0
            for j in range(5):
                if j != i:
                    total += (-(tensor[b] @ f[i] - tensor[b] @ f[j]).abs().sum()).exp().item()
            assert out[i, 6 + b].item() == pytest.approx(total, rel=1e-12)


def test_equal_examples_are_as_close_as_can_be_and_one_alone_is_not_close():
    layer = MinibatchDiscrimination(nn.Linear(6, 4 * 3, bias=False), 3).double()
    assert layer(normal(1, 6).expand(7, 6))[:, 6:].flatten().tolist() == pytest.approx([6.0] * 28, rel=1e-12)
    assert layer(normal(1, 6))[:, 6:].tolist() == [[0.0] * 4]


@pytest.mark.parametrize(
    "networks",
    [
        MLP(critic=(8, 7), minibatch_kernels=4, minibatch_dims=3),
        Conv(width=4, minibatch_kernels=4, minibatch_dims=3),
    ],
    ids=["mlp", "conv"],
)
def test_the_critic_compares_the_examples_of_its_batch_but_encoder_and_features_do_not(networks):
    x = normal(6, *SHAPE)
    torch.manual_seed(0)
    critic = networks.make_critic(SHAPE, 2).double()
    found = [module for module in critic.modules() if isinstance(module, MinibatchDiscrimination)]
    assert len(found) == 1 and networks.critic_uses_batch_statistics and critic(x).shape == (6, 2)
    assert found[0].project.weight.shape[0] == 4 * 3 and critic.blocks[-1][-1].weight.shape[1] == (
        found[0].project.weight.shape[1] + 4
    )
    assert (critic(x)[:3] - critic(x[:3])).abs().max() > 1e-6
    assert torch.allclose(critic.features(x)[:3], critic.features(x[:3]), rtol=0, atol=1e-12)
    encoder = networks.make_encoder(SHAPE, 2).double()
    assert torch.allclose(encoder(x)[:3], encoder(x[:3]), rtol=0, atol=1e-12)
    spectral = networks.make_critic(SHAPE, spectral=True)
    layers = sum(isinstance(module, nn.Linear | nn.Conv2d) for module in spectral.modules())
    assert sum(isinstance(module, Spectral) for module in spectral.modules()) == layers


@pytest.mark.parametrize(
    "networks",
    [{"kind": "mlp", "minibatch_kernels": 3}, {"kind": "conv", "critic_norm": True}],
    ids=["kernels", "norm"],
)
@pytest.mark.parametrize("name", ["wgan-gp", "gan-r1"])
def test_gradient_penalties_refuse_a_critic_that_mixes(name, networks):
    model = registry.models.get(name)
    message = "needs backbone.critic_norm=false and backbone.minibatch_kernels=0"
    with pytest.raises(registry.UserError, match=message):
        model.build(DataSpec("tiny", SHAPE, 0, torch.zeros(SHAPE)), model.settings(networks), 0)


# ---------------------------------------------------------------- several seeds at once


@pytest.mark.parametrize("norm", ["reference", "virtual"])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_seeds_together_are_seeds_alone(kind, norm, tiny):
    sizes = {"mlp": {"generator": [8], "critic": [8]}, "conv": {"width": 4}}[kind]
    options = {"generator_norm": norm, "reference": 6, "minibatch_kernels": 3, "minibatch_dims": 2}
    model, data = registry.models.get("sngan"), tiny()
    settings = model.settings({"kind": kind, **sizes, **options})

    def stack(seeds: list[int]) -> Stack:
        games = [model.build(data.data_spec, settings, seed).double() for seed in seeds]
        return Stack(games, seeds, data, "sngan", 16, 4, dtype=torch.float64)

    together, alone = stack([0, 3]), [stack([0]), stack([3])]
    references = [together.weights()[i]["G.reference"] for i in range(2)]
    assert not torch.equal(*references)
    for _ in range(4):
        together.train_round()
        for one in alone:
            one.train_round()
    for index, one in enumerate(alone):
        single = one.weights()[0]
        for name, value in together.weights()[index].items():
            assert torch.allclose(value, single[name], rtol=1e-9, atol=1e-9), name
        assert torch.equal(single["G.reference"], references[index])  # it stays as drawn


# ---------------------------------------------------------------- initial weights


def test_initial_laws_of_the_mlp():
    def weights(law: str) -> list[Tensor]:
        networks = MLP(generator=(200, 100), critic=(200, 100), generator_init=0.8, critic_init=0.8, init_law=law)
        both = (networks.make_generator(50, (2,)), networks.make_critic((50,)))
        linear = [m for network in both for m in network.modules() if isinstance(m, nn.Linear)]
        assert not any(layer.bias is not None and layer.bias.any() for layer in linear)
        return [layer.weight.detach() for layer in linear]

    for weight in weights("orthogonal"):
        assert torch.linalg.svdvals(weight).tolist() == pytest.approx([0.8] * min(weight.shape), rel=1e-4)
    large = [weight for weight in weights("normal") if weight.numel() > 5000]
    assert len(large) == 4
    for weight in large:
        assert weight.std().item() == pytest.approx(0.8, rel=0.05) and weight.abs().max() > 2 * 0.8
