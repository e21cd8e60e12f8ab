"""The small extractors that ship with their weights: classifiers of grey images and digits, and plain pixels.

All of them run in float64: float32 kernels add in another order for another batch size, and a metric must not
depend on that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import safetensors.torch
from torch import nn

from ganbench.errors import UserError
from ganbench.features import Extractor, register
from ganbench.features.networks import MLP, LeNet, Pixels

WEIGHTS = Path(__file__).parent / "weights"
MNIST = "91d54ff7d69ab80e5971231f34d9ba5e75c8c801a7cad566d7e8e039f33ebb1b"
FASHION = "3389f8c3c8cf0a00908a3a0f402b874bb8cdba947fd7460293e6adc6e64f2c97"
DIGITS = "d9d7c13ff48b45966372a155b5537395a4ba878d19c642c9d9e40d76bec098e4"


def load_classifier(file: Path, sha256: str, build: Callable[[], nn.Module]) -> nn.Module:
    """Return a classifier in float64 and eval mode.

    Args:
        file: safetensors file of the network's state, written by `ganbench.features.train`.
        sha256: the hash it must have, 64 hexadecimal digits.
        build: () -> the untrained network.

    Raises:
        UserError: the file is missing or its hash differs.
    """
    try:
        content = file.read_bytes()
    except OSError:
        raise UserError(f"weight file '{file}' is missing or unreadable; install ganbench again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"weight file '{file}' should have sha256 {sha256[:12]}... but has {found[:12]}...; "
            "install ganbench again"
        )
    network = build()
    network.load_state_dict(safetensors.torch.load(content))
    return network.double().eval()


def _ship(name: str, data: str, sha256: str, build: Callable[[], nn.Module], side: int, features: int) -> None:
    kind = f"{build.__name__}, {side}x{side} grey, {features} features"
    load = partial(load_classifier, WEIGHTS / f"{name}.safetensors", sha256, build)
    register(Extractor(name, f"{kind}; test accuracy on {data}", sha256, load, shape=(1, side, side)))


_ship("lenet-mnist-v1", "MNIST 99.49 %", MNIST, LeNet, 28, 128)
_ship("lenet-fashion-v1", "Fashion-MNIST 92.86 %", FASHION, LeNet, 28, 128)
_ship("mlp-digits-v1", "digits 99.00 %", DIGITS, MLP, 8, 64)
register(Extractor("pixels", "the pixels as they are, any size, no logits", "", lambda: Pixels().eval()))
