"""Sheets of images with captions, and films of them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganbench.evaluation.grid import grid, zoom

LEVELS = [17 * round(level / 17) for level in range(256)]  # 16 of them make films a third as large
LETTERS, LINE, GAP = 11, 15, 4  # size of the letters, height of a line and margins, pixels


@dataclass(frozen=True)
class Panel:
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


def gif(images: Iterable[Image.Image], milliseconds: int = 100) -> bytes:
    """Return images as the bytes of a GIF file that runs for ever; equal neighbours become one longer frame."""
    first, *others = [image.point(LEVELS * len(image.getbands())) for image in images]
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return out.getvalue()


def sheet(panels: Sequence[Panel]) -> Image.Image:
    """Return panels one below another, grey if all of them are."""
    parts = [_captioned(panel) for panel in panels]
    size = (max(part.width for part in parts), sum(part.height for part in parts))
    page = Image.new("L" if all(part.mode == "L" for part in parts) else "RGB", size, "white")
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def place(panel: Panel) -> tuple[int, int, int]:
    """Return where a panel's first image stands: left, top, and how many pixels one of its own takes."""
    font = ImageFont.load_default(LETTERS)
    beside = max((int(font.getlength(word)) + GAP for word in panel.rows), default=0)
    size = zoom(panel.tiles)
    return GAP + beside + size, LINE * (1 + bool(panel.columns)) + GAP + size, size


def _captioned(panel: Panel) -> Image.Image:
    tiles, font = grid(panel.tiles), ImageFont.load_default(LETTERS)
    x, y, size = place(panel)
    left, top = x - size, y - size
    width = max(left + tiles.width, GAP + int(font.getlength(panel.title))) + GAP
    page = Image.new(tiles.mode, (width, top + tiles.height + GAP), "white")
    page.paste(tiles, (left, top))
    pen = ImageDraw.Draw(page)
    pen.text((GAP, 1), panel.title, "black", font)
    height, step = (pixels // count for pixels, count in zip(tiles.size[::-1], panel.tiles.shape[:2], strict=True))
    for column, word in enumerate(panel.columns):
        pen.text((left + column * step, top - LINE), word, "black", font)
    for row, word in enumerate(panel.rows):
        pen.text((GAP, top + row * height + height // 2), word, "black", font, anchor="lm")
    return page
