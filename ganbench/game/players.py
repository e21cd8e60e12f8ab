"""Players: whose networks move, by which optimiser and how often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ganbench.game.optimisers import Adam, Optimiser
from ganbench.records import Choices, Count, NonNegative, Record, Search


@dataclass(frozen=True)
class Player(Record):
    """One who minimises `<name>_loss` over the parameters of its networks.

    `steps` per round are raised to `boost` during the first `boost_first` rounds and at every `boost_every`th
    (WGAN's critic schedule). `clip` > 0 clamps the parameters to [-clip, clip] before each step.
    """

    name: str
    "name, which also names the loss method"
    nets: tuple[str, ...]
    "attributes of the game that hold the player's networks or parameters; other players may move some as well"
    optimiser: Optimiser = Adam()
    "how it descends"
    steps: Annotated[Count, Choices((1, 2, 5))] = 1
    "steps per round, >= 1"
    boost: int = 0
    "steps in boosted rounds; 0 boosts none"
    boost_first: int = 0
    "number of boosted rounds at the start"
    boost_every: int = 0
    "every so many rounds one is boosted; 0 is never"
    clip: Annotated[NonNegative, Search(1e-3, 1e-1)] = 0.0
    "bound of the weights; 0 is none"
    clip_nets: tuple[str, ...] = ()
    "those of the player's networks that are clipped; () is all"
    unroll: Annotated[int, Field(ge=0)] = 0
    "steps of all others on its draw that the player learns through; its loss then needs the terms of others' too"
    historical_averaging: NonNegative = 0.0
    "weight of |parameters - their average over all steps so far|^2; Salimans et al. 2016, section 3.3"
    feature_matching: Annotated[float, Field(ge=0, le=1)] = 0.0
    "share of the loss that is the squared distance of mean critic features of real and fake images; ibid., 3.1"

    def owned(self, names: Iterable[str], nets: Sequence[str] = ()) -> list[str]:
        """Return those names of parameters that belong to the player's networks, or to some of them only."""
        return [n for n in names if any(n == net or n.startswith(f"{net}.") for net in nets or self.nets)]

    def steps_at(self, round_: int) -> int:
        """Return the number of steps in a round, counted from 0."""
        every = self.boost_every and round_ % self.boost_every == 0
        return self.boost if self.boost and (round_ < self.boost_first or every) else self.steps
