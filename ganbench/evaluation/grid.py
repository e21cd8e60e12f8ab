"""Images side by side as one PNG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ganbench.records import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAME = 0.25  # a grey frame keeps neighbours apart


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
    pad = images.new_full((-len(images) % columns, *images.shape[1:]), 0)
    write_whole(path, png(grid(torch.cat([images, pad]).unflatten(0, (-1, columns)))))


def png(drawn: Image.Image | Figure) -> bytes:
    """Return an image or a figure as the bytes of a PNG file."""
    out = io.BytesIO()
    if isinstance(drawn, Image.Image):
        drawn.save(out, "PNG")
    else:
        drawn.savefig(out, format="png", dpi=80)
    return out.getvalue()


def zoom(tiles: Tensor) -> int:
    return max(1, round(28 / (tiles.shape[3] + 2)))


def grid(tiles: Tensor) -> Image.Image:
    """Return tiles (rows, columns, channels, height, width) in grey frames as one image."""
    framed = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=FRAME)
    rows = framed.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (height, width, channels) of the whole
    zoomed = rows.repeat_interleave(zoom(tiles), 0).repeat_interleave(zoom(tiles), 1)
    pixels = (zoomed * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
