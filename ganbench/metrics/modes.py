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
INSIDE = 1 - math.exp(-(DEVIATIONS**2) / 2)
"probability that a draw of a planar Gaussian is of high quality"


def typical(variances: Tensor) -> tuple[float, float]:
    """Return the distances from a mode's centre between which its draws lie with probability INSIDE.

    Args:
        variances: along the principal axes of a Gaussian, (d,), some > 0.

    The squared distance is taken as a chi-square of the same mean and variance, exact where all variances that are
    not 0 are equal.

    Source: Satterthwaite 1946.
    """
    from scipy.stats import chi2  # slow to import

    total, squares = float(variances.sum()), float(variances.square().sum())
    law = chi2(total**2 / squares, scale=squares / total)
    return math.sqrt(law.ppf((1 - INSIDE) / 2)), math.sqrt(law.ppf((1 + INSIDE) / 2))


def nearest_modes(x: Tensor, modes: Modes) -> tuple[Tensor, Tensor]:
    """Return the nearest mode of each vector, int64 (n,), and whether it is of high quality, bool (n,).

    Args:
        x: (n, d), finite.
        modes: with k centres.

    Of a round mode, what is nearer than 3 standard deviations is of high quality. In many dimensions the draws of
    a mode lie on a shell around its centre: there, what is in the central 98.9 % of their distances.

    Source: Srivastava et al. 2017, section 4.1; `<` as in the code of Lin et al. 2018.
    """
    x, centres = pair("samples", x, "modes", modes.centres)
    # Differences, not a matrix product: modes may be thousands of deviations apart.
    distances = torch.cdist(x.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    least, nearest = distances.min(dim=1)
    if modes.variances is None:
        return nearest, least < DEVIATIONS * modes.spread
    shells = torch.tensor([typical(each) for each in modes.variances], dtype=torch.float64)[nearest]
    return nearest, (least > shells[:, 0]) & (least < shells[:, 1])


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
    if modes.variances is None:
        rule = f"less than {DEVIATIONS:g} standard deviations of {modes.spread:.4g}"
    else:
        rule = f"a distance in the central {100 * INSIDE:.1f} % of the mode's own"
    protocol = (
        f"first {SAMPLES} generated samples; {len(modes.centres)} modes; high quality: nearest centre at {rule},"
        " Euclidean distance; float64"
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


def _mode_kl_all(inputs: MetricInputs, extractor: str) -> Score:
    from scipy.stats import chi2  # slow to import

    counts, high, modes, protocol = _found(inputs)
    # Of a round mode in d dimensions, 3 deviations hold another share than in the plane.
    inside = INSIDE if modes.variances is not None else float(chi2.cdf(DEVIATIONS**2, modes.centres.shape[1]))
    none = len(high) - counts.sum()
    law = torch.cat([modes.probabilities * inside, torch.tensor([1 - inside], dtype=torch.float64)])
    value = divergence(torch.cat([counts, none[None]]), law)
    return Score(
        value, math.nan, len(high), f"{protocol}; one more cell for samples of no mode", f"{none} of no mode"
    )


register(
    Metric(
        name="mode-kl-all",
        version=1,
        summary="KL(samples over modes and 'no mode' || law), nats; noise cannot win it",
        ability="sample",
        better="lower",
        unit="nats",
        compute=_mode_kl_all,
    )
)
register(
    Metric(
        name="modes-captured",
        version=2,
        summary="modes nearest to at least one high-quality sample; Srivastava et al. 2017",
        ability="sample",
        better="higher",
        compute=_modes_captured,
    )
)
register(
    Metric(
        name="high-quality",
        version=2,
        summary="share of samples within 3 deviations of a mode; Srivastava et al. 2017",
        ability="sample",
        better="higher",
        compute=_high_quality,
    )
)
register(
    Metric(
        name="mode-kl",
        version=2,
        summary="KL(high-quality samples over modes || law), nats; Lin et al. 2018 (PacGAN)",
        ability="sample",
        better="lower",
        unit="nats",
        compute=_mode_kl,
    )
)
