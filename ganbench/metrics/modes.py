"""Mode coverage on laws whose modes are known: how many are found, how well, and how evenly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganbench.distributions.known import Modes
from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.metrics.numerics.checks import pair

SAMPLES = 2500
DEVIATIONS = 3.0


def nearest_modes(x: Tensor, modes: Modes, deviations: float = DEVIATIONS) -> tuple[Tensor, Tensor]:
    """Return the nearest mode of each vector, int64 (n,), and whether it is of high quality, bool (n,).

    Args:
        x: (n, d), finite.
        modes: with k centres.
        deviations: a vector nearer to a centre than this many standard deviations is of high quality.

    Source: Srivastava et al. 2017, section 4.1; `<` as in the code of Lin et al. 2018.
    """
    x, centres = pair("samples", x, "modes", modes.centres)
    # Differences, not a matrix product: modes may be thousands of deviations apart.
    distances = torch.cdist(x.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    if modes.per_dimension:
        distances = distances / math.sqrt(x.shape[1])
    least, nearest = distances.min(dim=1)
    return nearest, least < deviations * modes.spread


def divergence(counts: Tensor, probabilities: Tensor) -> float:
    """Return KL(counts / their sum || probabilities) in nats; NaN if all counts are 0.

    Args:
        counts: (k,), >= 0.
        probabilities: (k,), > 0.
    """
    shares = counts.double() / counts.sum()
    return float((torch.xlogy(shares, shares) - shares * probabilities.double().log()).sum())


def _found(inputs: MetricInputs) -> tuple[Tensor, Tensor, Modes, str]:
    """Return the counts of high-quality samples per mode, their flags, the modes and the protocol."""
    modes = inputs.distribution.modes
    if modes is None:
        raise UserError("the law of this dataset has no known modes; use ring, grid or another mixture")
    nearest, high = nearest_modes(inputs.fake(SAMPLES).cpu(), modes)
    counts = nearest[high].bincount(minlength=len(modes.centres))
    distance = "root mean square over dimensions" if modes.per_dimension else "Euclidean distance"
    protocol = (
        f"first {SAMPLES} generated samples; {len(modes.centres)} modes; high quality: nearest centre at less"
        f" than {DEVIATIONS:g} standard deviations of {modes.spread:.4g}, {distance}; float64"
    )
    return counts, high, modes, protocol


def _modes_captured(inputs: MetricInputs, extractor: str) -> Score:
    counts, high, modes, protocol = _found(inputs)
    return Score(float((counts > 0).sum()), math.nan, len(high), protocol, f"of {len(modes.centres)}")


def _high_quality(inputs: MetricInputs, extractor: str) -> Score:
    _, high, _, protocol = _found(inputs)
    share = float(high.double().mean())
    return Score(share, math.sqrt(share * (1 - share) / len(high)), len(high), protocol)


def _mode_kl(inputs: MetricInputs, extractor: str) -> Score:
    counts, _, modes, protocol = _found(inputs)
    n = int(counts.sum())
    detail = f"{n} samples of high quality" if n else f"none of {SAMPLES} samples is of high quality"
    return Score(divergence(counts, modes.probabilities), math.nan, n, protocol, detail)


register(
    Metric(
        name="modes-captured",
        version=1,
        summary="modes nearest to at least one high-quality sample; Srivastava et al. 2017",
        ability="sample",
        better="higher",
        compute=_modes_captured,
    )
)
register(
    Metric(
        name="high-quality",
        version=1,
        summary="share of samples within 3 deviations of a mode; Srivastava et al. 2017",
        ability="sample",
        better="higher",
        compute=_high_quality,
    )
)
register(
    Metric(
        name="mode-kl",
        version=1,
        summary="KL(high-quality samples over modes || law), nats; Lin et al. 2018 (PacGAN)",
        ability="sample",
        better="lower",
        unit="nats",
        compute=_mode_kl,
    )
)
