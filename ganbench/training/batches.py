"""What is drawn for a turn of play: minibatches of real images and noise, each seed's from its own streams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganbench.distributions.moving import Moving
from ganbench.records import seed_stream


def scale(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return uint8 pixels as numbers in [-1, 1], and vectors as they are."""
    return images.to(dtype) / 127.5 - 1 if images.dtype == torch.uint8 else images.to(dtype)


class Batches:
    """Minibatches by index from images in memory: each seed's own reshuffling, a function of the position alone.

    Args:
        images: uint8 images or float vectors, (n, *shape).
        batch: images per minibatch, <= n.
        streams: the axes that name each seed's order.
        labels: int64 (n,), None if they are not asked for.
        view: what makes sequences of the images, with each seed's own noise, new in every epoch.
    """

    def __init__(
        self,
        images: Tensor,
        batch: int,
        streams: Sequence[tuple[str | int, ...]],
        labels: Tensor | None = None,
        view: Moving | None = None,
    ) -> None:
        self.images, self.batch, self.streams, self.labels, self.view = images, batch, streams, labels, view
        self.per_epoch = len(images) // batch
        self._epoch = -1
        self._order = torch.empty(len(streams), len(images), dtype=torch.int64, device=images.device)
        self._places = torch.empty(batch, dtype=torch.int64, device=images.device)
        self._first = torch.arange(batch, device=images.device)
        # By place in the order. In float64, so that all devices agree on the pixels at which digits stand.
        self._laws = {} if view is None else view.noise()
        self._noise = {
            name: torch.empty(len(streams), len(images), *law.shape, dtype=torch.float64, device=images.device)
            for name, law in self._laws.items()
        }

    def seek(self, position: int) -> None:
        """Make minibatch number `position` the one that `get` returns."""
        epoch, place = divmod(position, self.per_epoch)
        if epoch != self._epoch:
            for stream, order in zip(self.streams, self._order, strict=True):
                generator = torch.Generator().manual_seed(seed_stream(*stream, "order", epoch))
                order.copy_(torch.randperm(len(self.images), generator=generator))
            for index, stream in enumerate(self.streams):
                generator = torch.Generator().manual_seed(seed_stream(*stream, "view", epoch))
                for name, law in self._laws.items():
                    part = self._noise[name][index]
                    part.copy_(law.fill(torch.empty(part.shape, dtype=part.dtype), generator))
            self._epoch = epoch
        torch.add(self._first, place * self.batch, out=self._places)

    def get(self, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the present minibatch of every seed, (seeds, batch, *shape) as `scale` gives it, and its labels.

        The labels are {"y": int64 (seeds, batch)}, or {} if they are not asked for.
        """
        chosen = self._order.index_select(1, self._places)
        labels = {} if self.labels is None else {"y": self.labels[chosen]}
        return scale(self._seen(self.images[chosen]), dtype), labels

    def _seen(self, images: Tensor) -> Tensor:
        """Return what the view makes of the present images, (seeds, batch, *shape)."""
        if self.view is None:
            return images
        noise = {name: part.index_select(1, self._places).flatten(0, 1) for name, part in self._noise.items()}
        return self.view(images.flatten(0, 1), noise).unflatten(0, images.shape[:2])
