"""Backbones and layers: shapes, sizes, bounds, spectral norm, maxout, dropout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.layers.blocks import LeakyReLU, Maxout, ReferenceNorm, Spectral, activation
from ganbench.layers.networks import MLP, Conv

SHAPES = [(channels, size, size) for channels in (1, 3) for size in (8, 28, 32)]


def images(n: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backbone", [MLP(generator=(9, 7), critic=(6, 5)), Conv(width=4)], ids=["mlp", "conv"])
def test_networks_fit_any_usual_image(backbone, shape):
    generator = backbone.make_generator(5, shape).double()
    z = torch.randn(3, 5, dtype=torch.float64)
    picture = generator(z)
    assert picture.shape == generator.logits(z).shape == (3, *shape)
    assert torch.allclose(picture, 2 * generator.logits(z).sigmoid() - 1, atol=1e-12)
    for spectral in (False, True):
        for outputs in (1, 4):
            critic = backbone.make_critic(shape, outputs, spectral).double()
            assert critic(images(3, shape)).shape == (3, outputs)
            found = sum(isinstance(module, Spectral) for module in critic.modules())
            layers = sum(isinstance(module, nn.Linear | nn.Conv2d) for module in critic.modules())
            assert found == (layers if spectral else 0)


@pytest.mark.parametrize("backbone", [MLP(generator=(9, 7), critic=(6, 5)), Conv(width=4)], ids=["mlp", "conv"])
def test_no_image_sees_another_in_the_critic(backbone):
    critic, x = backbone.make_critic((3, 8, 8)).double(), images(6, (3, 8, 8))
    assert torch.allclose(critic(x)[4:5], critic(x[4:5]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 4, 4), (1, 2, 2), (1, 9, 9), (1, 8, 16), (64,), (8, 8)], ids=str)
def test_conv_refuses_what_it_cannot_halve(shape):
    for make in (lambda: Conv().make_generator(5, shape), lambda: Conv().make_critic(shape)):
        with pytest.raises(ValueError, match="needs square images of even size > 4, got shape"):
            make()


@pytest.mark.parametrize(
    ("backbone", "shape", "generator", "critic"),
    [
        # Goodfellow et al. 2014, released: 100-1200-1200-784; 784-240x5-240x5-1
        (
            registry.models.get("gan-2014").overrides["backbone"],
            (1, 28, 28),
            100 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 784 + 784,
            784 * 1200 + 1200 + 240 * 1200 + 1200 + 240 + 1,
        ),
        # f-GAN, MNIST: 100-1024-1024-784 with batch norm; 784-240-240-1
        (
            MLP(generator=(1024, 1024), critic=(240, 240)),
            (1, 28, 28),
            100 * 1024 + 2 * 1024 + 1024 * 1024 + 2 * 1024 + 1024 * 784 + 784,
            784 * 240 + 240 + 240 * 240 + 240 + 240 + 1,
        ),
        # DCGAN at 32x32: 100 -> 256x4x4 -> 128 -> 64 -> 3, and 3 -> 64 -> 128 -> 256 -> 1
        (
            Conv(width=64),
            (3, 32, 32),
            100 * 256 * 16 + 2 * 256 + 256 * 128 * 16 + 2 * 128 + 128 * 64 * 16 + 2 * 64 + 64 * 3 * 16 + 3,
            3 * 64 * 16 + 64 + 64 * 128 * 16 + 128 + 128 * 256 * 16 + 256 + 256 * 16 + 1,
        ),
    ],
    ids=["gan-2014", "f-gan", "dcgan-32"],
)
def test_paper_sizes(backbone, shape, generator, critic):
    assert count(backbone.make_generator(100, shape)) == generator
    assert count(backbone.make_critic(shape)) == critic


@pytest.mark.parametrize(
    "backbone",
    [
        MLP(),
        MLP(generator_norm="none"),
        MLP(generator_norm="virtual"),
        Conv(critic_norm=True),
        Conv(),
        Conv(generator_norm="reference"),
        Conv(image_conv=True),
    ],
    ids=repr,
)
def test_no_bias_stands_before_a_norm(backbone):
    norms = 0
    for network in (backbone.make_generator(10, (1, 32, 32)), backbone.make_critic((1, 32, 32))):
        flat = [m for m in network.modules() if not list(m.children()) and not isinstance(m, nn.Unflatten)]
        for layer, after in zip(flat, [*flat[1:], None], strict=True):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                normed = isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d | ReferenceNorm)
                assert (layer.bias is None) == normed
                norms += normed
    if backbone.kind == "mlp":
        assert norms == (0 if backbone.generator_norm == "none" else 2)
    else:
        assert norms == 3 + 2 * backbone.critic_norm + backbone.image_conv


def test_initial_weights():
    uniform = MLP(generator=(300, 300), critic=(300, 300), generator_init=0.05, critic_init=0.005)
    for network, bound in (
        (uniform.make_generator(100, (1, 8, 8)), 0.05),
        (uniform.make_critic((1, 8, 8), spectral=True), 0.005),
    ):
        for layer in (m for m in network.modules() if isinstance(m, nn.Linear)):
            assert layer.weight.abs().max() <= bound
            if layer.weight.numel() > 1000:
                assert layer.weight.abs().max() > 0.98 * bound
                assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
            assert layer.bias is None or not layer.bias.any()
    conv = Conv(width=32, critic_norm=True)
    for network in (conv.make_generator(100, (3, 32, 32)), conv.make_critic((3, 32, 32))):
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and layer.weight.numel() > 1000:
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert abs(layer.weight.mean().item()) < 0.002
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.02) and 0 < layer.weight.std() < 0.04


@pytest.mark.parametrize(
    "make",
    [lambda: nn.Linear(13, 7), lambda: nn.Conv2d(3, 6, 4, 2, 1), lambda: nn.Conv2d(2, 5, 3)],
    ids=["linear", "conv", "conv-3x3"],
)
def test_spectral_norm_finds_the_largest_singular_value(make):
    torch.manual_seed(0)
    layer = make().double()
    norm = Spectral(layer).double()
    assert norm.u.dtype == layer.weight.dtype == torch.float64
    x = images(4, (13,) if isinstance(layer, nn.Linear) else (layer.in_channels, 8, 8))
    for _ in range(200):
        norm(x)
    largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
    bias = layer.bias.reshape(-1, *[1] * (x.dim() - 2))
    assert torch.allclose(norm(x) - bias, (layer(x) - bias) / largest, rtol=1e-6, atol=1e-9)
    assert norm.u.norm().item() == pytest.approx(1)


def test_spectral_norm_after_fifty_iterations_is_close_from_any_start():
    torch.manual_seed(3)
    x = images(2, (30,))
    for _ in range(5):
        norm = Spectral(nn.Linear(30, 20)).double()
        for _ in range(50):
            out = norm(x)
        largest = torch.linalg.svdvals(norm.layer.weight.detach())[0]
        expected = x @ norm.layer.weight.T / largest + norm.layer.bias
        assert torch.allclose(out, expected, rtol=0.02, atol=0.02)


def test_spectral_norm_moves_u_in_training_only():
    torch.manual_seed(0)
    norm, x = Spectral(nn.Linear(13, 7)), torch.randn(4, 13)
    start = norm.u.clone()
    norm.eval()
    first = norm(x)
    assert torch.equal(norm.u, start) and torch.equal(norm(x), first)
    norm.train()
    norm(x)
    assert not torch.equal(norm.u, start)


def test_gradient_of_the_spectral_norm_holds_u_and_v_constant():
    torch.manual_seed(0)
    norm, x = Spectral(nn.Linear(5, 4)).double().eval(), images(3, (5,))
    weight = norm.layer.weight
    v = nn.functional.normalize(weight.T @ norm.u, dim=0).detach()
    u = nn.functional.normalize(weight @ v, dim=0).detach()
    by_hand = (x @ (weight / (u @ weight @ v)).T + norm.layer.bias).square().sum()
    expected = torch.autograd.grad(by_hand, weight)[0]
    found = torch.autograd.grad(norm(x).square().sum(), weight)[0]
    assert found.any() and torch.allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_spectral_norm_has_no_scale():
    torch.manual_seed(0)
    norm, x = Spectral(nn.Linear(13, 7, bias=False)).double().eval(), images(4, (13,))
    before = norm(x)
    with torch.no_grad():
        norm.layer.weight.mul_(100)
    assert torch.allclose(norm(x), before, rtol=1e-12)


def test_maxout_takes_the_largest_of_each_group():
    x = torch.tensor([[1.0, 5.0, -2.0, -7.0, -3.0, -4.0]])
    assert Maxout(3)(x).tolist() == [[5.0, -3.0]]
    assert Maxout(2)(x).tolist() == [[5.0, -2.0, -3.0]]


def test_activations():
    x = torch.tensor([[-1.0, 2.0]], dtype=torch.float64)
    assert LeakyReLU()(x).tolist() == [[-0.2, 2.0]] and LeakyReLU(0.3)(x).tolist() == [[-0.3, 2.0]]
    expected = {
        "relu": [0.0, 2.0],
        "leaky-relu": [-0.2, 2.0],
        "elu": [math.expm1(-1), 2.0],
        "tanh": [math.tanh(-1), math.tanh(2)],
        "softplus": [math.log1p(math.exp(-1)), math.log1p(math.exp(2))],
        "maxout": [2.0],
    }
    for name, values in expected.items():
        assert activation(name, pieces=2)(x)[0].tolist() == pytest.approx(values)
        widths = MLP(critic=(6, 4), critic_activation=name, pieces=2)
        assert widths.make_critic((1, 8, 8))(torch.zeros(2, 1, 8, 8)).shape == (2, 1)


def test_dropout_keeps_the_mean_and_drops_by_the_given_numbers():
    torch.manual_seed(0)
    critic = MLP(critic=(10,), keep=(0.8, 0.5)).make_critic((1, 8, 8)).double()
    assert critic.widths == (64, 10) and critic.mask_size == 74
    x = images(1, (1, 8, 8))
    seen: list[Tensor] = []
    critic.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    uniform = torch.rand(40_000, 74, dtype=torch.float64)
    critic(x.expand(40_000, -1, -1, -1), uniform)
    masked = seen[0]
    kept = uniform[:, :64] < 0.8
    assert torch.equal(masked != 0, kept)
    assert torch.allclose(masked[kept], (x.flatten(1) / 0.8).expand(40_000, -1)[kept])
    assert torch.allclose(masked.mean(0), x.flatten(), atol=0.02)
    # a head that is linear in its input keeps its mean, too, and no numbers mean no dropout
    plain = critic(x)
    hidden = torch.cat([torch.zeros(40_000, 64), uniform[:, 64:]], 1).double()  # inputs kept, hidden units dropped
    expected = critic(x * 0.8)  # ... but still scaled by 1 / 0.8
    found = critic((x * 0.8).expand(40_000, -1, -1, -1), hidden).mean()
    assert found.item() == pytest.approx(plain.item(), abs=0.01) != expected.item()
    assert torch.equal(critic(x), plain)


def test_zero_one_shows_pixels_from_zero_to_one():
    critic = MLP(critic=(3,), zero_one=True).make_critic((1, 8, 8))
    seen: list[Tensor] = []
    critic.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    critic(torch.tensor([-1.0, 1.0]).repeat(32).reshape(1, 1, 8, 8))
    assert seen[0].unique().tolist() == [0.0, 1.0]
