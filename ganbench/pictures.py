"""Pictures of generated images."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganbench.record import write_whole


def draw_grid(images: Tensor, path: Path, columns: int = 10) -> None:
    """Draw images in [0, 1] as a PNG grid, enlarged to about 28 pixels a side.

    Args:
        images: (n, channels, height, width); or sequences, (n, frames, channels, height, width), of which the
            first `columns` are drawn, one in each row.
        path: file to write.
        columns: images beside each other.
    """
    if images.ndim == 5:
        images, columns = images[:columns].flatten(0, 1), images.shape[1]
    images = torch.nn.functional.pad(images, (1, 1, 1, 1), value=0.25)  # a grey frame keeps neighbours apart
    n, channels, height, width = images.shape
    pad = torch.zeros(-n % columns, channels, height, width, device=images.device)
    cells = torch.cat([images, pad]).unflatten(0, (-1, columns))
    zoom = max(1, round(28 / height))
    grid = cells.permute(0, 3, 1, 4, 2).reshape(-1, columns * width, channels)
    grid = grid.repeat_interleave(zoom, 0).repeat_interleave(zoom, 1)
    pixels = (grid * 255).round().to(torch.uint8).cpu().numpy()
    png = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(png, "PNG")
    write_whole(path, png.getvalue())
