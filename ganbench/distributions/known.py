"""The law behind a synthetic dataset: where samples come from, and what is known of them exactly."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Modes:
    """Where a law concentrates.

    Args:
        centres: (modes, d) float64.
        spread: standard deviation of a mode along each dimension.
        probabilities: (modes,) float64.
        variances: of each mode along its principal axes, (modes, d) float64; None where all are spread^2.
    """

    centres: Tensor
    spread: float
    probabilities: Tensor
    variances: Tensor | None = None


class KnownDistribution:
    """A law on vectors.

    Attributes:
        dimensions: length d of a vector.
        modes: where it concentrates, None if nowhere.
    """

    dimensions: int
    modes: Modes | None = None

    def sample(self, n: int, seed: int) -> Tensor:
        """Return n independent draws, (n, d) float32; same seed, same draws."""
        raise NotImplementedError

    def log_density(self, x: Tensor) -> Tensor:
        """Return the log density in nats of vectors (n, d), (n,) float64; UserError if there is none."""
        raise NotImplementedError

    def cdf(self, x: Tensor) -> Tensor:
        """Return the probability of numbers up to x (n,), (n,) float64; for one dimension only."""
        raise NotImplementedError

    def quantile(self, u: Tensor) -> Tensor:
        """Return the number below which lies the probability u (n,) in (0, 1); for one dimension only."""
        raise NotImplementedError
