"""Convolutional backbone: sizes for every kernel and number of layers, and the networks of the papers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ganbench.layers.blocks import BatchNorm2d, LeakyReLU
from ganbench.layers.networks import Conv


def heights(network: nn.Module, start: Tensor) -> list[tuple[int, int]]:
    """Return channels and height of all that the convolutions see and give, from the input on."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    seen: list[tuple[int, int]] = []
    layers[0].register_forward_pre_hook(lambda module, x: seen.append(tuple(x[0].shape[1:3])))
    for layer in layers:
        layer.register_forward_hook(lambda module, x, out: seen.append(tuple(out.shape[1:3])))
    network(start)
    return seen


def sizes_of(backbone: Conv, shape: tuple[int, ...], latent: int = 5) -> tuple[list, list]:
    generator, critic = backbone.make_generator(latent, shape), backbone.make_critic(shape)
    return heights(generator, torch.zeros(2, latent)), heights(critic, torch.zeros(2, *shape))


@pytest.mark.parametrize("image_conv", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_odd_kernels_take_every_size(kernel, layers, image_conv):
    for size in range(8, 20):
        chain = [size]
        for _ in range(layers):
            chain.append(-(-chain[-1] // 2))
        backbone = Conv(width=2, critic_width=3, kernel=kernel, layers=layers, image_conv=image_conv)
        generator, critic = sizes_of(backbone, (3, size, size))
        assert critic == [(3, size), *((3 * 2**i, h) for i, h in enumerate(chain[1:]))]
        if image_conv:
            expected = [(3, size), *((2 * 2**i, h) for i, h in enumerate(chain))]
        else:
            expected = [(3, size), *((2 * 2**i, h) for i, h in enumerate(chain[1:]))]
        assert generator == expected[::-1]


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize(("size", "end"), [(8, 4), (28, 7), (32, 4), (64, 4)])
def test_by_default_all_kernels_halve_alike(kernel, size, end):
    generator, critic = sizes_of(Conv(width=2, kernel=kernel), (1, size, size))
    assert [h for _, h in generator] == [h for _, h in critic][::-1]
    assert critic[0] == (1, size) and critic[-1][1] == end


def test_the_stacked_mnist_networks_of_pacgan():
    backbone = Conv(width=64, kernel=5, layers=4, critic_norm=True)
    generator, critic = sizes_of(backbone, (3, 28, 28), latent=100)
    assert generator == [(512, 2), (256, 4), (128, 7), (64, 14), (3, 28)]
    assert critic == [(3, 28), (64, 14), (128, 7), (256, 4), (512, 2)]
    network = backbone.make_critic((6, 28, 28))
    kernels = [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(64, 6, 5, 5), (128, 64, 5, 5), (256, 128, 5, 5), (512, 256, 5, 5)]
    assert sum(isinstance(m, BatchNorm2d) for m in network.modules()) == 3


@pytest.mark.parametrize("critic_width", [2, 4])
def test_the_stacked_mnist_networks_of_metz(critic_width):
    backbone = Conv(
        width=8,
        critic_width=critic_width,
        kernel=3,
        layers=3,
        image_conv=True,
        critic_norm=True,
        critic_slope=0.3,
    )
    generator, critic = sizes_of(backbone, (3, 28, 28), latent=256)
    assert generator == [(64, 4), (32, 7), (16, 14), (8, 28), (3, 28)]
    w = critic_width
    assert critic == [(3, 28), (w, 14), (2 * w, 7), (4 * w, 4)]
    network = backbone.make_critic((3, 28, 28))
    slopes = [m(torch.tensor(-1.0)).item() for m in network.modules() if isinstance(m, LeakyReLU)]
    assert slopes == pytest.approx([-0.3] * 3)
    last = backbone.make_generator(256, (3, 28, 28)).layers[-2]
    assert isinstance(last, nn.Conv2d) and last.weight.shape == (3, 8, 3, 3) and last.stride == (1, 1)


@pytest.mark.parametrize(
    ("backbone", "size"),
    [(Conv(layers=3), 28), (Conv(layers=1), 9), (Conv(layers=5, kernel=3), 8), (Conv(layers=7, kernel=5), 28)],
    ids=str,
)
def test_too_many_layers_are_refused(backbone, size):
    message = (
        f"{backbone.layers} conv layers with kernel {backbone.kernel} cannot halve images of size {size}; set"
    )
    for make in (
        lambda: backbone.make_generator(5, (1, size, size)),
        lambda: backbone.make_critic((1, size, size)),
    ):
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("shape", [(64,), (1, 8, 16)], ids=str)
def test_given_layers_still_need_square_images(shape):
    with pytest.raises(ValueError, match="needs square images"):
        Conv(kernel=3, layers=1).make_critic(shape)
