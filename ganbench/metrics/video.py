"""Sequences of frames: where the digit is, what it is, and what comes next."""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.distributions.moving import Moving
from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, frechet, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import in_float64
from ganbench.metrics.numerics.checks import pixels
from ganbench.metrics.reconstruction import squared_errors

FRAMES = 4
"frames per sequence whose features are compared: more of the same digit say little more"


def locate(frames: Tensor, side: int) -> Tensor:
    """Return the corners, x before y, of the windows around whose middle most brightness lies, int64 (n, 2).

    A pixel weighs 1 - |offset from the middle|^2 / (side^2 / 2), so that the window centres on what it holds: of
    a plain sum all windows that hold the whole digit, which has a margin, would be equal.

    Args:
        frames: (n, channels, height, width), brightness >= 0.
        side: of the window, at most height and width.
    """
    offsets = torch.arange(side, dtype=torch.float64, device=frames.device) - (side - 1) / 2
    height, width = ((_band(torch.ones_like(offsets), n), _band(offsets.square(), n)) for n in frames.shape[2:])
    corners = []
    for part in in_float64(frames):
        bright = part.sum(1)
        spread = height[1] @ bright @ width[0].T + height[0] @ bright @ width[1].T
        weight = height[0] @ bright @ width[0].T - spread / (side**2 / 2)
        # Of equal windows the first, whatever the order of the sums.
        place = weight.round(decimals=6).flatten(1).argmax(1)
        corners.append(torch.stack([place % weight.shape[2], place // weight.shape[2]], dim=1))
    return torch.cat(corners)


def _band(weights: Tensor, n: int) -> Tensor:
    """Return the matrix whose row j has the weights from column j on, (n - len(weights) + 1, n)."""
    rows = weights.new_zeros(n - len(weights) + 1, n)
    for j, row in enumerate(rows):
        row[j : j + len(weights)] = weights
    return rows


def crop(frames: Tensor, corners: Tensor, side: int) -> Tensor:
    """Return the windows at corners, x before y, (n, 2), of frames (n, channels, height, width)."""
    inside = torch.arange(side, device=frames.device)
    columns, rows = (corners[:, axis, None] + inside for axis in (0, 1))
    which = torch.arange(len(frames), device=frames.device)[:, None, None]
    return frames.movedim(1, -1)[which, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def identity_consistency(logits: Tensor) -> Tensor:
    """Return the share of frames, from the second on, that have the class of the first, (n,) float64.

    Args:
        logits: (n, frames, classes).
    """
    classes = logits.argmax(2)
    return (classes[:, 1:] == classes[:, :1]).double().mean(1)


def as_sequences(sequences: Tensor) -> Tensor:
    """Return sequences as they are; UserError if these are other items."""
    if sequences.ndim != 5:
        raise UserError(f"expected sequences of frames, got items of shape {tuple(sequences.shape[1:])}")
    return sequences


def located(sequences: Tensor, view: Moving) -> Tensor:
    """Return the corners of the digits, (n, frames, 2)."""
    return locate(as_sequences(sequences).flatten(0, 1), view.side).unflatten(0, sequences.shape[:2])


def content(inputs: MetricInputs, sequences: Tensor) -> tuple[Tensor, str]:
    """Return the digits in all frames, or whole frames of data without a view, and what they are."""
    frames = as_sequences(sequences).flatten(0, 1)
    if inputs.view is None:
        return frames, "whole frames"
    side = inputs.view.side
    return crop(frames, locate(frames, side), side), f"{side}x{side} windows around the brightness"


def _frame_fid(inputs: MetricInputs, extractor: str) -> Score:
    length = as_sequences(inputs.real("test", 1)).shape[1]
    chosen = torch.linspace(0, length - 1, min(FRAMES, length)).round().long().tolist()
    (real, made), (fake, _) = (content(inputs, x[:, chosen]) for x in (inputs.real("test"), inputs.fake()))
    features = [inputs.extract(frames, extractor).features for frames in (real, fake)]
    what = f"frames, {len(chosen)} evenly spaced ones of each sequence, {made}"
    return frechet.score(features[0], features[1], inputs.extractor_id(extractor), what)


def _identity(inputs: MetricInputs, extractor: str) -> Score:
    sequences = inputs.fake()
    frames, made = content(inputs, sequences)
    logits = inputs.extract(frames, extractor).logits
    if logits is None:
        raise UserError(f"extractor {extractor} has no logits; take a classifier, e.g. lenet-mnist-v1")
    protocol = (
        f"{len(sequences)} generated sequences, all frames; {made}; {inputs.extractor_id(extractor)}; float64"
    )
    return average(identity_consistency(logits.unflatten(0, sequences.shape[:2])), protocol)


def _prediction(inputs: MetricInputs, extractor: str) -> Score:
    real = as_sequences(inputs.real("test"))[:, 1:]
    made = inputs.to_pixels(inputs.call("predict", "test"))
    if made.shape != real.shape:
        raise UserError(f"expected predictions of shape {tuple(real.shape)}, got {tuple(made.shape)}")
    errors = squared_errors(pixels("test frames", real), pixels("predictions", made))
    return average(errors, f"all frames but the first of {len(real)} test sequences; pixels in [0, 1]; float64")


register(
    Metric(
        name="frame-fid",
        version=1,
        summary="Frechet distance of the digits in single frames; Heusel et al. 2017",
        ability="sample",
        better="lower",
        needs_extractor="features",
        compute=_frame_fid,
    )
)
register(
    Metric(
        name="identity-consistency",
        version=1,
        summary="share of frames whose digit has the class of the first; black frames or noise may, too",
        ability="sample",
        better="higher",
        needs_extractor="logits",
        compute=_identity,
    )
)
register(
    Metric(
        name="prediction-mse",
        version=1,
        summary="mean squared error per pixel on [0, 1] of the next frame",
        ability="predict",
        better="lower",
        compute=_prediction,
    )
)
