"""Courses of a learning rate over the rounds of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ganbench.records import Fraction, NonNegative, Positive, Record


@dataclass(frozen=True)
class Constant(Record):
    """Keep the learning rate."""

    kind: Literal["constant"] = "constant"
    "always constant"

    def factor(self, round_: int, rounds: int) -> float:
        """Return the multiplier of the learning rate at a round, 0 <= round_ < rounds."""
        return 1.0


@dataclass(frozen=True)
class Decay(Record):
    """Divide the learning rate by a constant each round, down to a floor. Goodfellow et al. 2014, code."""

    divisor: Positive = 1.000004
    "divisor per round, >= 1"
    floor: NonNegative = 0.0
    "smallest factor"
    kind: Literal["decay"] = "decay"
    "always decay"

    def factor(self, round_: int, rounds: int) -> float:
        """Return the multiplier of the learning rate at a round, 0 <= round_ < rounds."""
        return max(self.divisor**-round_, self.floor)


@dataclass(frozen=True)
class LinearDecay(Record):
    """Keep the learning rate up to a share of the rounds, then go linearly to 0. Miyato et al. 2018: start 0."""

    start: Fraction = 0.0
    "share of the rounds before the decay begins, in [0, 1)"
    kind: Literal["linear-decay"] = "linear-decay"
    "always linear-decay"

    def factor(self, round_: int, rounds: int) -> float:
        """Return the multiplier of the learning rate at a round, 0 <= round_ < rounds."""
        progress = round_ / rounds
        return 1.0 if progress < self.start else (1 - progress) / (1 - self.start)


Schedule = Annotated[Constant | Decay | LinearDecay, Field(discriminator="kind")]
