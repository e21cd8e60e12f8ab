"""How exact float32 is: TensorFloat-32 and its like are used only where that is declared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def float32_arithmetic(tf32: bool = False) -> Iterator[None]:
    """Set whether float32 products and convolutions on CUDA may use TensorFloat-32, and restore it afterwards."""
    # by operator: torch refuses the older switch `cudnn.allow_tf32` where a user has set operators apart
    backends: Any = torch.backends
    cuda = (backends.cuda.matmul, backends.cudnn.conv)
    switches = (*cuda, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "tf32" if tf32 and switch in cuda else "ieee"
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value
