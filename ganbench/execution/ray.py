"""Calls of one function as tasks of a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ganbench.errors import UserError

PAUSE = 1.0  # seconds between two looks at the tasks: one look costs as much as there are tasks
RETRIES = 3  # of a task whose machine or process dies


def on_ray(
    call: Callable[[Any], Any], items: Sequence[Any], cores: int, gpus: int, address: str = ""
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each item as it is done; the result is an exception if the call came to no end.

    Args:
        call: importable on every machine of the cluster.
        items: begun in about this order.
        cores: of each task.
        gpus: of each task.
        address: "HOST:PORT", "ray://HOST:PORT" or "auto"; default $RAY_ADDRESS, else this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError:
        raise UserError("backend ray needs Ray; pip install 'ganbench[ray]'") from None
    before = ray.is_initialized()
    if not before:
        try:
            ray.init(address or None, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError, TimeoutError) as error:
            raise UserError(f"no Ray cluster at '{address}': {error}") from None
    try:
        task = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=RETRIES)(call)
        left = {task.remote(item): index for index, item in enumerate(items)}
        while left:
            ready, _ = ray.wait(list(left), num_returns=len(left), timeout=PAUSE)
            for done in ready:
                try:
                    result = ray.get(done)
                except ray.exceptions.RayError as error:
                    result = error
                yield left.pop(done), result
    finally:
        if not before:
            ray.shutdown()
