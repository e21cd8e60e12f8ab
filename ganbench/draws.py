"""What is drawn for a turn of play: minibatches of real images and noise, each seed's from its own streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganbench.noise import Law
from ganbench.record import seed_stream


def scale(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return uint8 pixels as numbers in [-1, 1]."""
    return images.to(dtype) / 127.5 - 1


def draw(
    laws: Mapping[str, Law], n: int, generators: Sequence[torch.Generator], like: Tensor
) -> dict[str, Tensor]:
    """Return name -> (seeds, n, *shape) with each seed's numbers from its own generator."""
    noise = {}
    for name, law in laws.items():
        out = torch.empty(len(generators), n, *law.shape, dtype=like.dtype, device=like.device)
        for part, generator in zip(out, generators, strict=True):
            law.fill(part, generator)
        noise[name] = out
    return noise


class Batches:
    """Minibatches by index from images in memory: each seed's own reshuffling, a function of the position alone.

    Args:
        images: uint8 (n, *shape).
        batch: images per minibatch, <= n.
        streams: the axes that name each seed's order.
    """

    def __init__(self, images: Tensor, batch: int, streams: Sequence[tuple[str | int, ...]]) -> None:
        self.images, self.batch, self.streams = images, batch, streams
        self.per_epoch = len(images) // batch
        self._epoch = -1
        self._order = torch.empty(len(streams), len(images), dtype=torch.int64, device=images.device)
        self._places = torch.empty(batch, dtype=torch.int64, device=images.device)
        self._first = torch.arange(batch, device=images.device)

    def seek(self, position: int) -> None:
        """Make minibatch number `position` the one that `get` returns."""
        epoch, place = divmod(position, self.per_epoch)
        if epoch != self._epoch:
            for stream, order in zip(self.streams, self._order, strict=True):
                generator = torch.Generator().manual_seed(seed_stream(*stream, "order", epoch))
                order.copy_(torch.randperm(len(self.images), generator=generator))
            self._epoch = epoch
        torch.add(self._first, place * self.batch, out=self._places)

    def get(self, dtype: torch.dtype) -> Tensor:
        """Return the present minibatch of every seed, (seeds, batch, *shape) in [-1, 1]."""
        return scale(self.images[self._order.index_select(1, self._places)], dtype)
