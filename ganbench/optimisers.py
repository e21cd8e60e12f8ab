"""Optimisers as pure steps: parameters, gradients and state tensors in, changed in place.

All rules are elementwise, so one step over stacked parameters is one step of every seed side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.players import SGD, Adam, Optimiser, RMSprop

State = dict[str, list[Tensor]]
EPSILON = 1e-8  # the default of torch.optim.Adam and RMSprop


def start(rule: Optimiser, parameters: list[Tensor]) -> State:
    """Return the state of an optimiser before its first step."""

    def zeros() -> list[Tensor]:
        return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]

    if isinstance(rule, Adam):
        count = torch.zeros((), dtype=torch.float32, device=parameters[0].device)
        return {"average": zeros(), "square": zeros(), "count": [count]}
    return {"momentum": zeros()} if isinstance(rule, SGD) else {"square": zeros()}


def descend(
    rule: Optimiser,
    parameters: list[Tensor],
    gradients: tuple[Tensor, ...],
    state: State,
    lr: Tensor,
    momentum: Tensor,
) -> None:
    """Take one step in place.

    Args:
        rule: which optimiser; its learning rate and momentum are those given here, already scheduled.
        parameters: what moves.
        gradients: of the loss, one per parameter.
        state: as `start` returned it.
        lr: learning rate, a tensor without axes, so that a captured step sees it change.
        momentum: likewise, for SGD.
    """
    with torch.no_grad():
        if isinstance(rule, Adam):
            _adam(parameters, list(gradients), state["average"], state["square"], state["count"], lr, *rule.betas)
        elif isinstance(rule, SGD):
            for parameter, gradient, buffer in zip(parameters, gradients, state["momentum"], strict=True):
                buffer.mul_(momentum).add_(gradient)
                parameter.sub_(lr * buffer)
        else:
            _rmsprop(rule, parameters, gradients, state["square"], lr)


def _rmsprop(
    rule: RMSprop, parameters: list[Tensor], gradients: tuple[Tensor, ...], squares: list[Tensor], lr: Tensor
) -> None:
    for parameter, gradient, square in zip(parameters, gradients, squares, strict=True):
        square.mul_(rule.alpha).addcmul_(gradient, gradient, value=1 - rule.alpha)
        parameter.sub_(lr * gradient / (square.sqrt() + EPSILON))


# One opaque operation, because the compiler cannot take torch's fused kernel apart and need not.
@torch.library.custom_op("ganbench::adam", mutates_args=("parameters", "averages", "squares", "count"))
def _adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    count: list[Tensor],
    lr: Tensor,
    beta1: float,
    beta2: float,
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
        eps=EPSILON,
        amsgrad=False,
        maximize=False,
    )
