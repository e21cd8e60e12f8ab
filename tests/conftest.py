"""Shared by all tests: one thread for torch, and a tiny dataset of noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ganbench.datasets import Dataset


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Use one thread: on busy cores the threads of small networks mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Dataset]:
    """Return a maker of datasets of random uint8 images."""

    def make(channels: int = 1, size: int = 8, n: int = 64) -> Dataset:
        generator = torch.Generator().manual_seed(channels * 1000 + size)
        splits = ("train", "validation", "test")
        shape = (n, channels, size, size)
        images = {s: torch.randint(256, shape, dtype=torch.uint8, generator=generator) for s in splits}
        return Dataset(f"tiny-{channels}x{size}", images)

    return make
