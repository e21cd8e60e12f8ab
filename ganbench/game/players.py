"""Players, their optimisers and the schedules of these: frozen records, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ganbench.records import Count, Fraction, NonNegative, Positive, Record


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


@dataclass(frozen=True)
class Adam(Record):
    """Adam. Kingma and Ba 2015."""

    lr: Positive = 2e-4
    "learning rate"
    betas: tuple[Fraction, Fraction] = (0.5, 0.999)
    "decay rates of both moments"
    schedule: Schedule = Constant()
    "course of the learning rate"
    epsilon: Positive = 1e-8
    "added to the root of the second moment, in units of the gradient; gradients far below it make small steps"
    kind: Literal["adam"] = "adam"
    "always adam"


@dataclass(frozen=True)
class RMSprop(Record):
    """RMSprop. Tieleman and Hinton 2012."""

    lr: Positive = 5e-5
    "learning rate"
    alpha: Fraction = 0.99
    "decay rate of the squared gradient"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["rmsprop"] = "rmsprop"
    "always rmsprop"


@dataclass(frozen=True)
class SGD(Record):
    """Stochastic gradient descent whose momentum may rise linearly over the first rounds."""

    lr: Positive = 0.1
    "learning rate"
    momentum: Fraction = 0.0
    "momentum at the start"
    final_momentum: Fraction = 0.0
    "momentum once risen; unused while ramp is 0"
    ramp: int = 0
    "rounds over which the momentum rises"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["sgd"] = "sgd"
    "always sgd"

    def momentum_at(self, round_: int) -> float:
        """Return the momentum at a round."""
        if not self.ramp:
            return self.momentum
        return self.momentum + (self.final_momentum - self.momentum) * min(round_ / self.ramp, 1.0)


@dataclass(frozen=True)
class SGHMC(Record):
    """Stochastic gradient Hamiltonian Monte Carlo of exp(-loss / T), after a burn-in. Chen et al. 2014, eq. 15.

    A step is v <- (1 - friction) v - lr grad loss + N(0, 2 friction lr T), from rest, and moves by v. Where the
    loss is a mean over N independent data, T = 1 / N samples the posterior; less is colder.
    """

    lr: Positive = 0.01
    "learning rate: eta / T of the paper"
    friction: Annotated[float, Field(gt=0, le=1)] = 0.1
    "1 - momentum"
    temperature: NonNegative = 1e-6
    "T of the noise; 0 is SGD with momentum"
    burn_in: Annotated[int, Field(ge=0)] = 5000
    "steps of Adam before the first step of SGHMC"
    adam: Adam = Adam()
    "optimiser of the burn-in, at its own constant rate"
    schedule: Schedule = Constant()
    "course of the learning rate of SGHMC, over all rounds"
    kind: Literal["sghmc"] = "sghmc"
    "always sghmc"


Optimiser = Annotated[Adam | RMSprop | SGD | SGHMC, Field(discriminator="kind")]


@dataclass(frozen=True)
class Player(Record):
    """One who minimises `<name>_loss` over the parameters of its networks.

    `steps` per round are raised to `boost` during the first `boost_first` rounds and at every `boost_every`th
    (WGAN's critic schedule). `clip` > 0 clamps the parameters to [-clip, clip] before each step.
    """

    name: str
    "name, which also names the loss method"
    nets: tuple[str, ...]
    "attributes of the game that hold the player's networks or parameters"
    optimiser: Optimiser = Adam()
    "how it descends"
    steps: Count = 1
    "steps per round, >= 1"
    boost: int = 0
    "steps in boosted rounds; 0 boosts none"
    boost_first: int = 0
    "number of boosted rounds at the start"
    boost_every: int = 0
    "every so many rounds one is boosted; 0 is never"
    clip: NonNegative = 0.0
    "bound of the weights; 0 is none"
    clip_nets: tuple[str, ...] = ()
    "those of the player's networks that are clipped; () is all"
    unroll: Annotated[int, Field(ge=0)] = 0
    "steps of all others on its draw that the player learns through; its loss then needs the terms of others' too"
    historical_averaging: NonNegative = 0.0
    "weight of |parameters - their average over all steps so far|^2; Salimans et al. 2016, section 3.3"
    feature_matching: Annotated[float, Field(ge=0, le=1)] = 0.0
    "share of the loss that is the squared distance of mean critic features of real and fake images; ibid., 3.1"

    def steps_at(self, round_: int) -> int:
        """Return the number of steps in a round, counted from 0."""
        every = self.boost_every and round_ % self.boost_every == 0
        return self.boost if self.boost and (round_ < self.boost_first or every) else self.steps
