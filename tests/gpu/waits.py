"""Where a round waits for the device: what torch reports on CUDA, and what would wait there, found without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
READS = {  # what brings a value, or a size that hangs on values, to the host
    aten._local_scalar_dense.default,
    aten._linalg_check_errors.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
}
MAKERS = {
    torch.arange,
    torch.empty,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randn,
    torch.randperm,
    torch.tensor,
    torch.zeros,
}


class _Reads(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masked = func is aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1])
        if func in READS or masked:
            raise RuntimeError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


class _Uploads(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        # A number without axes is handed to kernels by value.
        if func in MAKERS and "device" not in (kwargs or {}) and isinstance(made, Tensor) and made.dim():
            raise RuntimeError(f"torch.{func.__name__} without a device makes a tensor on the host")
        return made


@contextmanager
def no_waits(device: str) -> Iterator[None]:
    """Raise RuntimeError where the host waits for the device, or on a CPU would wait for one.

    Args:
        device: "cuda" asks torch's own watch; "cpu" looks for operations that read a value, and for tensors
            that are made on the host and then must be copied.
    """
    if device != "cuda":
        with _Uploads(), _Reads():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
