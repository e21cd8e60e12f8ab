"""Sets of one number per item, whose density is known exactly."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ganbench.datasets import Dataset, Source, register, splits
from ganbench.distributions.scalar import ComponentDistribution, Mixture1d, PushForward, Square

SIZES = (100_000, 10_000, 10_000)

LAWS: dict[str, tuple[str, ComponentDistribution]] = {
    "implicit-exp": ("exp(h), h standard normal", PushForward("exp")),
    "implicit-square": ("h^2, h standard normal: infinite density at 0", Square()),
    "implicit-sigmoid": ("sigmoid(h), h standard normal", PushForward("sigmoid")),
    "implicit-tanh": ("tanh(h), h standard normal: two peaks", PushForward("tanh")),
    "two-gaussians-1d": ("halves at -2 and 2, std 0.5", Mixture1d([0.5, 0.5], [-2.0, 2.0], [0.25, 0.25])),
    "fgan-mixture-1d": (
        "0.33 N(-1, 0.065) + 0.67 N(2, 2), which no single Gaussian fits; Nowozin et al. 2016",
        Mixture1d([0.33, 0.67], [-1.0, 2.0], [0.065, 2.0]),
    ),
}


def load(name: str, root: Path, download: bool) -> Dataset:
    """Return 100,000 training, 10,000 validation and 10,000 test numbers; needs no file."""
    return splits.drawn(name, LAWS[name][1], SIZES)


for _name, (_what, _) in LAWS.items():
    register(Source(_name, f"120,000 numbers: {_what}; exact density", partial(load, _name)))
