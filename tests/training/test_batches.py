"""Minibatches: every image once per epoch, in an order that the position alone decides."""

from __future__ import annotations

import torch
from torch import Tensor

from ganbench.training.batches import Batches, scale


def batch_at(batches: Batches, position: int) -> Tensor:
    batches.seek(position)
    return batches.get(torch.float64)[0]


def test_every_epoch_shows_every_image_once_in_a_new_order():
    images = torch.arange(64, dtype=torch.uint8).reshape(64, 1, 1, 1)
    batches = Batches(images, 16, [("d", "m", 0), ("d", "m", 1)])
    epochs = []
    for epoch in range(2):
        drawn = torch.cat([batch_at(batches, 4 * epoch + i) for i in range(4)], 1)
        epochs.append(((drawn + 1) * 127.5).round().long().reshape(2, 64))
    for epoch in epochs:
        assert all(sorted(row.tolist()) == list(range(64)) for row in epoch)
    orders = {tuple(row.tolist()) for epoch in epochs for row in epoch}
    assert len(orders) == 4
    # a function of the position alone
    again = batch_at(Batches(images, 16, [("d", "m", 1)]), 5)
    assert torch.equal(again[0], batch_at(batches, 5)[1])


def test_pixels_are_scaled_to_the_whole_range():
    assert scale(torch.tensor([0, 255], dtype=torch.uint8), torch.float64).tolist() == [-1.0, 1.0]
