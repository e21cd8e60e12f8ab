"""Optimisers as pure steps: parameters, gradients and state tensors in, changed in place.

All rules are elementwise, so one step over stacked parameters is one step of every seed side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.game.players import SGD, SGHMC, Adam, Optimiser, RMSprop

State = dict[str, list[Tensor]]
EPSILON = 1e-8  # the default of torch.optim.RMSprop


def start(rule: Optimiser, parameters: list[Tensor], history: bool = False) -> State:
    """Return the state before the first step, and the average of all parameters so far if `history`."""

    def zeros() -> list[Tensor]:
        return [torch.zeros_like(parameter, requires_grad=False) for parameter in parameters]

    if history:
        seen = torch.ones((), dtype=torch.float32, device=parameters[0].device)
        return {**start(rule, parameters), "history": [p.detach().clone() for p in parameters], "seen": [seen]}

    if isinstance(rule, Adam | SGHMC):
        count = torch.zeros((), dtype=torch.float32, device=parameters[0].device)
        moments = {"average": zeros(), "square": zeros(), "count": [count]}
        return moments | {"momentum": zeros()} if isinstance(rule, SGHMC) else moments
    return {"momentum": zeros()} if isinstance(rule, SGD) else {"square": zeros()}


def apply(
    rule: Optimiser,
    parameters: list[Tensor],
    gradients: tuple[Tensor, ...],
    state: State,
    lr: Tensor,
    momentum: Tensor,
    normal: list[Tensor] | None = None,
) -> None:
    """Take one step in place.

    Args:
        rule: which optimiser; its learning rate and momentum are those given here, already scheduled.
        parameters: what moves.
        gradients: of the loss, one per parameter.
        state: as `start` returned it.
        lr: learning rate, a tensor without axes, so that a captured step sees it change.
        momentum: likewise, for SGD.
        normal: standard normal numbers like the parameters, for SGHMC.
    """
    with torch.no_grad():
        if isinstance(rule, Adam):
            moments = (state["average"], state["square"], state["count"])
            _adam(parameters, list(gradients), *moments, lr, *rule.betas, rule.epsilon)
        elif isinstance(rule, SGD):
            for parameter, gradient, buffer in zip(parameters, gradients, state["momentum"], strict=True):
                buffer.mul_(momentum).add_(gradient)
                parameter.sub_(lr * buffer)
        elif isinstance(rule, SGHMC):
            assert normal is not None
            _sghmc(rule, parameters, gradients, state, lr, normal)
        else:
            _rmsprop(rule, parameters, gradients, state["square"], lr)


def update_history(parameters: list[Tensor], state: State) -> None:
    """Take the parameters into the running average that `start` began, in place."""
    state["seen"][0].add_(1)
    for parameter, mean in zip(parameters, state["history"], strict=True):
        mean.add_((parameter.detach() - mean) / state["seen"][0])


def lookahead(
    rule: Optimiser,
    parameters: list[Tensor],
    gradients: list[Tensor],
    state: State,
    lr: Tensor,
    momentum: Tensor,
) -> tuple[list[Tensor], State]:
    """Return parameters and state after the step that `apply` would take, differentiable in all inputs."""

    def root(squares: list[Tensor]) -> list[Tensor]:
        return [square.clamp(min=1e-30).sqrt() for square in squares]  # the root has no derivative at 0

    if isinstance(rule, SGD):
        buffers = [momentum * old + g for old, g in zip(state["momentum"], gradients, strict=True)]
        moved = [p - lr * buffer for p, buffer in zip(parameters, buffers, strict=True)]
        return moved, {"momentum": buffers}
    if isinstance(rule, SGHMC):
        raise UserError("the noise of SGHMC cannot be foreseen; unroll players with another optimiser")
    decay = rule.betas[1] if isinstance(rule, Adam) else rule.alpha
    squares = [decay * old + (1 - decay) * g * g for old, g in zip(state["square"], gradients, strict=True)]
    if isinstance(rule, RMSprop):
        steps = [g / (r + EPSILON) for g, r in zip(gradients, root(squares), strict=True)]
        return [p - lr * step for p, step in zip(parameters, steps, strict=True)], {"square": squares}
    beta1, beta2 = rule.betas
    averages = [beta1 * old + (1 - beta1) * g for old, g in zip(state["average"], gradients, strict=True)]
    count = state["count"][0] + 1
    taken: Tensor = count.to(parameters[0].dtype)
    bias1, bias2 = 1 - beta1**taken, (1 - beta2**taken).sqrt()
    moved = [
        p - lr * (m / bias1) / (r / bias2 + rule.epsilon)
        for p, m, r in zip(parameters, averages, root(squares), strict=True)
    ]
    return moved, {"average": averages, "square": squares, "count": [count]}


def _sghmc(
    rule: SGHMC,
    parameters: list[Tensor],
    gradients: tuple[Tensor, ...],
    state: State,
    lr: Tensor,
    normal: list[Tensor],
) -> None:
    """Adam up to the end of the burn-in, SGHMC from rest afterwards; without a branch, for captured steps."""
    (beta1, beta2), count = rule.adam.betas, state["count"][0].add_(1)
    taken = count.to(parameters[0].dtype)
    burning, scale = count <= rule.burn_in, (2 * rule.friction * rule.temperature * lr).sqrt()
    bias1, bias2 = 1 - beta1**taken, (1 - beta2**taken).sqrt()
    moments = (state["average"], state["square"], state["momentum"])
    for parameter, gradient, draw, average, square, v in zip(parameters, gradients, normal, *moments, strict=True):
        average.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = -rule.adam.lr * (average / bias1) / (square.sqrt() / bias2 + rule.adam.epsilon)
        v.mul_(1 - rule.friction).sub_(lr * gradient).add_(scale * draw)
        v.copy_(torch.where(burning, 0, v))
        parameter.add_(torch.where(burning, step, v))


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
