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

from ganbench.errors import UserError
from ganbench.game.schedules import Constant, Schedule
from ganbench.records import Betas, Fraction, NonNegative, Positive, Rate, Record, Search

State = dict[str, list[Tensor]]
EPSILON = 1e-8  # the default of torch.optim.RMSprop


@dataclass(frozen=True)
class _Optimiser(Record):
    """What training asks of an optimiser.

    Class attributes:
        stacked: names of the state that is shaped like the parameters, axis of seeds included.
        stochastic: whether a step takes standard normal numbers, which the trainer draws.
    """

    stacked: ClassVar[tuple[str, ...]]
    stochastic: ClassVar[bool] = False

    def momentum_at(self, round_: int) -> float:
        """Return the momentum at a round, 0 where there is none."""
        return 0.0

    def start(self, parameters: Sequence[Tensor]) -> State:
        """Return the state before the first step."""
        return {name: [torch.zeros_like(p, requires_grad=False) for p in parameters] for name in self.stacked}

    def step(
        self,
        parameters: list[Tensor],
        gradients: Sequence[Tensor],
        state: State,
        lr: Tensor,
        momentum: Tensor,
        normal: Sequence[Tensor] = (),
    ) -> None:
        """Take one step in place.

        Args:
            parameters: what moves.
            gradients: of the loss, one per parameter.
            state: as `start` returned it.
            lr: learning rate, already scheduled, a tensor without axes, so that a captured step sees it change.
            momentum: likewise, for those that have one.
            normal: standard normal numbers like the parameters, for those that are stochastic.
        """
        raise NotImplementedError

    def lookahead(
        self, parameters: list[Tensor], gradients: Sequence[Tensor], state: State, lr: Tensor, momentum: Tensor
    ) -> tuple[list[Tensor], State]:
        """Return parameters and state after the step that `step` would take, differentiable in all inputs."""
        raise UserError(f"the steps of {type(self).__name__} cannot be foreseen; choose another to unroll")


@dataclass(frozen=True)
class Adam(_Optimiser):
    """Adam. Kingma and Ba 2015."""

    lr: Rate = 2e-4
    "learning rate"
    betas: Betas = (0.5, 0.999)
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
        self,
        parameters: list[Tensor],
        gradients: Sequence[Tensor],
        state: State,
        lr: Tensor,
        momentum: Tensor,
        normal: Sequence[Tensor] = (),
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

    lr: Rate = 5e-5
    "learning rate"
    alpha: Fraction = 0.99
    "decay rate of the squared gradient"
    schedule: Schedule = Constant()
    "course of the learning rate"
    kind: Literal["rmsprop"] = "rmsprop"
    "always rmsprop"

    stacked: ClassVar[tuple[str, ...]] = ("square",)

    def step(
        self,
        parameters: list[Tensor],
        gradients: Sequence[Tensor],
        state: State,
        lr: Tensor,
        momentum: Tensor,
        normal: Sequence[Tensor] = (),
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

    lr: Annotated[Positive, Search(1e-3, 1.0)] = 0.1
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
        self,
        parameters: list[Tensor],
        gradients: Sequence[Tensor],
        state: State,
        lr: Tensor,
        momentum: Tensor,
        normal: Sequence[Tensor] = (),
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


@dataclass(frozen=True)
class SGHMC(_Optimiser):
    """Stochastic gradient Hamiltonian Monte Carlo of exp(-loss / T), after a burn-in. Chen et al. 2014, eq. 15.

    A step is v <- (1 - friction) v - lr grad loss + N(0, 2 friction lr T), from rest, and moves by v. Where the
    loss is a mean over N independent data, T = 1 / N samples the posterior; less is colder.
    """

    lr: Annotated[Positive, Search(1e-6, 1e-2)] = 0.01
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

    stacked: ClassVar[tuple[str, ...]] = ("average", "square", "momentum")
    stochastic: ClassVar[bool] = True

    def start(self, parameters: Sequence[Tensor]) -> State:
        return {**super().start(parameters), **self.adam.start(parameters)}

    def step(
        self,
        parameters: list[Tensor],
        gradients: Sequence[Tensor],
        state: State,
        lr: Tensor,
        momentum: Tensor,
        normal: Sequence[Tensor] = (),
    ) -> None:
        """Adam up to the end of the burn-in, SGHMC from rest afterwards; without a branch, for captured steps."""
        with torch.no_grad():
            (beta1, beta2), count = self.adam.betas, state["count"][0].add_(1)
            taken: Tensor = count.to(parameters[0].dtype)
            burning, scale = count <= self.burn_in, (2 * self.friction * self.temperature * lr).sqrt()
            bias1, bias2 = 1 - beta1**taken, (1 - beta2**taken).sqrt()
            rows = zip(parameters, gradients, normal, *(state[name] for name in self.stacked), strict=True)
            for p, g, draw, average, square, v in rows:
                average.lerp_(g, 1 - beta1)
                square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
                step = -self.adam.lr * (average / bias1) / (square.sqrt() / bias2 + self.adam.epsilon)
                v.copy_(torch.where(burning, 0, (1 - self.friction) * v - lr * g + scale * draw))
                p.add_(torch.where(burning, step, v))


Optimiser = Annotated[Adam | RMSprop | SGD | SGHMC, Field(discriminator="kind")]


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
