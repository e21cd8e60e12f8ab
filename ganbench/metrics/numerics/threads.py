"""How the metrics share out the cores.

An operation spread over cores waits for the slowest core every time. With other work on the machine that costs
several times what it gains, for matrix decompositions up to a hundred times, so every operation stays on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep each tensor operation of the calling thread on one core; also a decorator."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return function(item) for every item, in order, as many at a time as torch has threads."""
    threads = torch.get_num_threads()
    if threads == 1:  # also within another call: threads inside threads would only keep more memory
        return [function(item) for item in items]
    with one_thread():
        return list(_pool(threads).map(function, items))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads that stay: the allocator keeps memory for each thread that it has ever seen."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
