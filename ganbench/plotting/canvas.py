"""Pictures of images side by side: plain grids, sheets with captions, films."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganbench.records import write_whole

FRAME = 0.25  # a grey frame keeps neighbours apart
LEVELS = [17 * round(level / 17) for level in range(256)]  # 16 of them make films a third as large
LETTERS, LINE, GAP = 11, 15, 4  # size of the letters, height of a line and margins, pixels


@dataclass(frozen=True)
class Block:
    """A grid of images with words around it.

    Args:
        tiles: (rows, columns, channels, height, width) in [0, 1].
        title: above all.
        rows: words beside the rows, from the first on.
        columns: words above the columns, from the first on.
    """

    tiles: Tensor
    title: str = ""
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


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
    write_whole(path, png(_grid(torch.cat([images, pad]).unflatten(0, (-1, columns)))))


def png(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def gif(images: Iterable[Image.Image], milliseconds: int = 100) -> bytes:
    """Return images as the bytes of a GIF file that runs for ever; equal neighbours become one longer frame."""
    first, *others = [image.point(LEVELS * len(image.getbands())) for image in images]
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return out.getvalue()


def sheet(blocks: Sequence[Block]) -> Image.Image:
    """Return blocks one below another, grey if all of them are."""
    parts = [_captioned(block) for block in blocks]
    size = (max(part.width for part in parts), sum(part.height for part in parts))
    page = Image.new("L" if all(part.mode == "L" for part in parts) else "RGB", size, "white")
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def place(block: Block) -> tuple[int, int, int]:
    """Return where a block's first image stands: left, top, and how many pixels one of its own takes."""
    font = ImageFont.load_default(LETTERS)
    beside = max((int(font.getlength(word)) + GAP for word in block.rows), default=0)
    zoom = _zoom(block.tiles)
    return GAP + beside + zoom, LINE * (1 + bool(block.columns)) + GAP + zoom, zoom


def _zoom(tiles: Tensor) -> int:
    return max(1, round(28 / (tiles.shape[3] + 2)))


def _grid(tiles: Tensor) -> Image.Image:
    """Return tiles (rows, columns, channels, height, width) in grey frames as one image."""
    framed = torch.nn.functional.pad(tiles, (1, 1, 1, 1), value=FRAME)
    rows = framed.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (height, width, channels) of the whole
    zoomed = rows.repeat_interleave(_zoom(tiles), 0).repeat_interleave(_zoom(tiles), 1)
    pixels = (zoomed * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _captioned(block: Block) -> Image.Image:
    grid, font = _grid(block.tiles), ImageFont.load_default(LETTERS)
    x, y, zoom = place(block)
    left, top = x - zoom, y - zoom
    width = max(left + grid.width, GAP + int(font.getlength(block.title))) + GAP
    page = Image.new(grid.mode, (width, top + grid.height + GAP), "white")
    page.paste(grid, (left, top))
    pen = ImageDraw.Draw(page)
    pen.text((GAP, 1), block.title, "black", font)
    height, step = (pixels // count for pixels, count in zip(grid.size[::-1], block.tiles.shape[:2], strict=True))
    for column, word in enumerate(block.columns):
        pen.text((left + column * step, top - LINE), word, "black", font)
    for row, word in enumerate(block.rows):
        pen.text((GAP, top + row * height + height // 2), word, "black", font, anchor="lm")
    return page
