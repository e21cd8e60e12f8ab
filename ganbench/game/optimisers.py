"""Optimisers, each its settings and its pure step: parameters, gradients and state tensors in, changed in place.

All rules are elementwise, so one step over stacked parameters is one step of every seed side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ganbench.game.schedules import Constant, Schedule
from ganbench.records import Fraction, Positive, Record

State = dict[str, list[Tensor]]
EPSILON = 1e-8  # the default of torch.optim.RMSprop


@dataclass(frozen=True)
class _Optimiser(Record):
    """What training asks of an optimiser.

    Class attributes:
        stacked: names of the state that is shaped like the parameters, axis of seeds included.
    """

    stacked: ClassVar[tuple[str, ...]]

    def momentum_at(self, round_: int) -> float:
        """Return the momentum at a round, 0 where there is none."""
        return 0.0

    def start(self, parameters: Sequence[Tensor]) -> State:
        """Return the state before the first step."""
        return {name: [torch.zeros_like(p, requires_grad=False) for p in parameters] for name in self.stacked}

    def step(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> None:
        """Take one step in place.

        Args:
            parameters: what moves.
            gradients: of the loss, one per parameter.
            state: as `start` returned it.
            lr: learning rate, already scheduled, a tensor without axes, so that a captured step sees it change.
            momentum: likewise, for those that have one.
        """
        raise NotImplementedError

    def lookahead(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> tuple[list[Tensor], State]:
        """Return parameters and state after the step that `step` would take, differentiable in all inputs."""
        raise NotImplementedError


@dataclass(frozen=True)
class Adam(_Optimiser):
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

    stacked: ClassVar[tuple[str, ...]] = ("average", "square")

    def start(self, parameters: Sequence[Tensor]) -> State:
        count = torch.zeros((), dtype=torch.float32, device=parameters[0].device)
        return {**super().start(parameters), "count": [count]}

    def step(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> None:
        with torch.no_grad():
            moments = (state["average"], state["square"], state["count"])
            _fused_adam(parameters, list(gradients), *moments, lr, *self.betas, self.epsilon)

    def lookahead(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> tuple[list[Tensor], State]:
        beta1, beta2 = self.betas
        squares = _squares(beta2, state, gradients)  # first: the order decides in which autograd adds up
        averages = [beta1 * old + (1 - beta1) * g for old, g in zip(state["average"], gradients, strict=True)]
        count = state["count"][0] + 1
        taken: Tensor = count.to(parameters[0].dtype)
        bias1, bias2 = 1 - beta1**taken, (1 - beta2**taken).sqrt()
        moved = [
            p - lr * (m / bias1) / (r / bias2 + self.epsilon)
            for p, m, r in zip(parameters, averages, _roots(squares), strict=True)
        ]
        return moved, {"average": averages, "square": squares, "count": [count]}


@dataclass(frozen=True)
class RMSprop(_Optimiser):
    """RMSprop. Tieleman and Hinton 2012."""

    lr: Positive = 5e-5
    "learning rate"
    alpha: Fraction = 0.99
    "decay rate of the squared gradient"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["rmsprop"] = "rmsprop"
    "always rmsprop"

    stacked: ClassVar[tuple[str, ...]] = ("square",)

    def step(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> None:
        with torch.no_grad():
            for parameter, gradient, square in zip(parameters, gradients, state["square"], strict=True):
                square.mul_(self.alpha).addcmul_(gradient, gradient, value=1 - self.alpha)
                parameter.sub_(lr * gradient / (square.sqrt() + EPSILON))

    def lookahead(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> tuple[list[Tensor], State]:
        squares = _squares(self.alpha, state, gradients)
        steps = [g / (r + EPSILON) for g, r in zip(gradients, _roots(squares), strict=True)]
        return [p - lr * step for p, step in zip(parameters, steps, strict=True)], {"square": squares}


@dataclass(frozen=True)
class SGD(_Optimiser):
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

    stacked: ClassVar[tuple[str, ...]] = ("momentum",)

    def momentum_at(self, round_: int) -> float:
        """Return the momentum at a round."""
        if not self.ramp:
            return self.momentum
        return self.momentum + (self.final_momentum - self.momentum) * min(round_ / self.ramp, 1.0)

    def step(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> None:
        with torch.no_grad():
            for parameter, gradient, buffer in zip(parameters, gradients, state["momentum"], strict=True):
                buffer.mul_(momentum).add_(gradient)
                parameter.sub_(lr * buffer)

    def lookahead(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> tuple[list[Tensor], State]:
        buffers = [momentum * old + g for old, g in zip(state["momentum"], gradients, strict=True)]
        moved = [p - lr * buffer for p, buffer in zip(parameters, buffers, strict=True)]
        return moved, {"momentum": buffers}


Optimiser = Annotated[Adam | RMSprop | SGD, Field(discriminator="kind")]


def _squares(decay: float, state: State, gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return the second moments after a step."""
    return [decay * old + (1 - decay) * g * g for old, g in zip(state["square"], gradients, strict=True)]


def _roots(squares: list[Tensor]) -> list[Tensor]:
    return [square.clamp(min=1e-30).sqrt() for square in squares]  # the root has no derivative at 0


# One opaque operation, because the compiler cannot take torch's fused kernel apart and need not.
@torch.library.custom_op("ganbench::adam", mutates_args=("parameters", "averages", "squares", "count"))
def _fused_adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    count: list[Tensor],
    lr: Tensor,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    count[0].add_(1)
    torch._fused_adam_(
        parameters,
        # vmap returns transposed gradients, whose strides the fused CPU kernel would ignore.
        [gradient.contiguous() for gradient in gradients],
        averages,
        squares,
        [],
        count * len(parameters),
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=0.0,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )
