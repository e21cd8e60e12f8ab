"""Reconstruction error of models with an encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import in_float64
from ganbench.metrics.numerics.checks import pair, pixels


def squared_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Return the mean squared error per pixel of each image, (n,) float64.

    Args:
        images: (n, d), finite.
        reconstructions: (n, d), finite, in the same order.

    Raises:
        UserError: shapes that differ, NaN or infinity.
    """
    images, reconstructions = pair("images", images, "reconstructions", reconstructions)
    if len(images) != len(reconstructions):
        raise UserError(
            f"expected one reconstruction for each of {len(images)} images,"
            f" got {len(reconstructions)}; reconstruct the whole split"
        )
    blocks = zip(in_float64(images), in_float64(reconstructions), strict=True)
    return torch.cat([(a - b).square().mean(dim=1) for a, b in blocks])


def _reconstruction_mse(inputs: MetricInputs, extractor: str) -> Score:
    images = pixels("test images", inputs.real("test"))
    made = pixels("reconstructions", inputs.to_pixels(inputs.call("reconstruct", "test")))
    protocol = f"mean over {len(images)} test images and {images.shape[1]} pixels in [0, 1]; float64"
    return average(squared_errors(images, made), protocol)


register(
    Metric(
        name="reconstruction-mse",
        version=1,
        summary="mean squared reconstruction error per pixel on [0, 1]; Li et al. 2018",
        ability="reconstruct",
        better="lower",
        compute=_reconstruction_mse,
    )
)
