"""Whether a generated digit moves as the view of the data makes real ones move."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganbench.distributions.moving import Moving
from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, once_per_run, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.video import content, located

DIRECTIONS = 360
"directions tried: they are known to half a degree"
RUN = 4
"frames that one step length and one direction must explain"
LONG, LONG_SEQUENCES = 200, 100
"frames and number of extrapolated sequences"
WINDOWS = 2048
"runs of frames compared with all directions at once"


def motion_errors(corners: Tensor, view: Moving) -> Tensor:
    """Return how far each run of four frames is from any that the view can make, pixels, (n, frames - 2) float64.

    From the place in the first frame the digit may start in any direction, at the speed of the view, and bounces
    off the edges; the error is the distance in the three frames that follow, averaged, for the best direction.
    Pixels are places rounded down, so what the view itself makes has errors of about 0.4 pixels.

    Args:
        corners: pixels of the digit's corner, x before y, (n, frames, 2).
        view: the law of motion.
    """
    if corners.shape[1] < RUN:
        raise UserError(f"expected sequences of at least {RUN} frames, got {corners.shape[1]}")
    places = ((corners.double() + 0.5) / view.room).clamp(max=1)
    runs = places.unfold(1, RUN, 1).transpose(2, 3).flatten(0, 1)
    angles = torch.linspace(0, 2 * math.pi, DIRECTIONS + 1, dtype=torch.float64, device=corners.device)[:-1]
    errors = []
    for part in runs.split(WINDOWS):
        starts = part[:, None, 0].expand(-1, DIRECTIONS, -1).flatten(0, 1)
        walks = view.walk(starts, angles.repeat(len(part))[:, None], RUN - 1).unflatten(0, (len(part), -1))
        errors.append((walks - part[:, None, 1:]).norm(dim=3).mean(2).amin(1))
    return torch.cat(errors).unflatten(0, (len(places), -1)) * view.room


def visible(brightness: Tensor, whole: Tensor, least: float) -> Tensor:
    """Return the share of frames in which a digit is bright and stands out, (n,) float64.

    Its window must be half as bright as in the first frame, as the least, and as the whole frame.

    Args:
        brightness: of the window around the digit, (n, frames).
        whole: brightness of the whole frame, (n, frames).
        least: brightness of the dimmest real digit.
    """
    bound = torch.maximum(brightness[:, :1].clamp(min=least), whole) / 2
    return (brightness >= bound).double().mean(1)


@once_per_run
def extrapolated(inputs: MetricInputs, n: int, frames: int) -> Tensor:
    """Return n generated sequences of some length, (n, frames, channels, height, width) in [0, 1]."""
    return inputs.make("extrapolate", n, frames, frames=frames)


def _moving(inputs: MetricInputs) -> Moving:
    if inputs.view is None:
        raise UserError("nobody knows how these data move; take a dataset that does, e.g. moving-digits")
    return inputs.view


def _law(view: Moving) -> str:
    step = view.speed * view.room
    return f"runs of {RUN} frames, steps of {step:g} pixels, nearest of {DIRECTIONS} directions; float64"


def _motion(inputs: MetricInputs, extractor: str) -> Score:
    view = _moving(inputs)
    corners = located(inputs.fake(), view)
    errors = motion_errors(corners, view)
    steps = corners.double().diff(dim=1).norm(dim=2).mean()
    protocol = f"{len(corners)} generated sequences of {corners.shape[1]} frames; {_law(view)}"
    detail = f"mean distance between frames {float(steps):.3g} pixels"
    return average(errors.mean(1), protocol, detail)


def _extrapolation(inputs: MetricInputs, extractor: str) -> Score:
    view = _moving(inputs)
    errors = motion_errors(located(extrapolated(inputs, LONG_SEQUENCES, LONG), view), view)
    protocol = f"{len(errors)} sequences extrapolated to {LONG} frames; {_law(view)}"
    first, last = (float(part.mean()) for part in (errors[:, :50], errors[:, -50:]))
    return average(errors.mean(1), protocol, f"first 50 runs {first:.3g}, last 50 runs {last:.3g} pixels")


def _visible(inputs: MetricInputs, extractor: str) -> Score:
    _moving(inputs)
    sequences = extrapolated(inputs, LONG_SEQUENCES, LONG)
    frames, made = content(inputs, sequences)
    real, _ = content(inputs, inputs.real("test")[:, :1])
    brightness = frames.double().sum((1, 2, 3)).unflatten(0, sequences.shape[:2])
    whole = sequences.double().sum((2, 3, 4))
    least = float(real.double().sum((1, 2, 3)).min())
    protocol = (
        f"{len(sequences)} sequences extrapolated to {LONG} frames; {made}; half as bright as in the first frame,"
        f" as the dimmest of {len(real)} test digits and as the whole frame; float64"
    )
    return average(visible(brightness, whole, least), protocol)


register(
    Metric(
        name="motion-error",
        version=1,
        summary="pixels between four frames and any that the law of motion allows; real ones: 0.4",
        ability="sample",
        better="lower",
        unit="pixels",
        compute=_motion,
    )
)
register(
    Metric(
        name="extrapolation-error",
        version=1,
        summary=f"motion error of sequences of {LONG} frames",
        ability="extrapolate",
        better="lower",
        unit="pixels",
        compute=_extrapolation,
    )
)
register(
    Metric(
        name="extrapolation-visible",
        version=1,
        summary=f"share of {LONG} frames in which a bright digit holds half of all light",
        ability="extrapolate",
        better="higher",
        compute=_visible,
    )
)
