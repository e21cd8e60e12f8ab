"""Faster forms of a pure step, compiled or captured as a CUDA graph; eager is the reference."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from ganbench.errors import UserError, suggest

ENGINES = ("auto", "eager", "compiled", "graph")
WARM_UP = 3  # plain steps before a capture: libraries set up their handles and workspaces in the first ones


def choose_engine(name: str, device: str) -> str:
    """Return the engine for "auto", "eager", "compiled" or "graph"; UserError if the device has none of it."""
    if name not in ENGINES:
        raise suggest("engine", name, list(ENGINES))
    if name == "auto":
        return "graph" if device == "cuda" else "eager"
    if name == "graph" and device != "cuda":
        raise UserError(f"--engine graph captures CUDA graphs, but the device is {device}; try --engine compiled")
    return name


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the step as few kernels, made at its first call for the shapes of its arguments.

    The step is first traced on copies down to single tensor operations, gradients included, so that the compiler
    meets no Python of a game.

    Raises:
        UserError: the step asks a tensor for its value, or the compiler failed, e.g. without a C++ compiler.
    """
    fast: Callable[..., Any] | None = None

    def run(*arguments: Any) -> Any:
        nonlocal fast
        flat, spec = tree_flatten(arguments)

        def of_flat(*flat: Tensor) -> Any:
            return step(*tree_unflatten(flat, spec))

        with torch.no_grad():
            if fast is not None:
                return fast(*flat)
            copies = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in flat]
            with _compiler_errors(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the compiler about itself
                logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # that it found no CUDA
                with torch.enable_grad():
                    traced = make_fx(of_flat)(*copies)
                fast = torch.compile(traced, fullgraph=True, dynamic=False)
                return fast(*flat)

    return run


@contextmanager
def _compiler_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        lines = [line for line in str(error).split("\n") if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f"the training step cannot be compiled ({reason}); try --engine eager") from error


def captured(
    step: Callable[[], Any], tensors: Sequence[Tensor], generators: Sequence[torch.Generator]
) -> Callable[[], Any]:
    """Return the step as one CUDA graph, random draws included; its results are overwritten by the next call.

    Args:
        step: reads and writes the same tensors at every call, and never waits for the device.
        tensors: all that it changes; they are as before when the capture is done.
        generators: all that it draws from; likewise.
    """
    before = [tensor.detach().clone() for tensor in tensors]
    states = [generator.get_state() for generator in generators]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    gc.collect()  # graphs and memory of former trainings must not be freed within the capture
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        results = step()
    with torch.no_grad():
        for tensor, saved in zip(tensors, before, strict=True):
            tensor.copy_(saved)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)

    def replay() -> Any:
        graph.replay()
        return results

    return replay
