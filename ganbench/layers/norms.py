"""Batch norms after training: running moments taken anew."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def recalibrate_batch_norm(
    net: nn.Module, run: Callable[[Tensor], object], images: Tensor, batch: int = 500
) -> None:
    """Set the running moments of all batch norms of a network to their averages over batches of images.

    Args:
        net: in evaluation mode.
        run: passes images (n, *shape) through it.
        images: at least 2, (n, *shape); divided evenly into batches of about that size or less than twice it.
    """
    norms = [part for part in net.modules() if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # equal weight to every batch
        norm.train()
    batches = max(1, len(images) // batch)
    with torch.no_grad():
        for first in range(batches):
            run(images[first::batches])  # in strides, for images may come class by class
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()
