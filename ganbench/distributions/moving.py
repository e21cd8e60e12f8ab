"""Views: how stored tensors become what a game sees, anew in every epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.distributions.noise import Noise, Uniform
from ganbench.records import Count, Positive, Record


@dataclass(frozen=True)
class Moving(Record):
    """Moving digits: an image wanders over a black canvas and bounces off its edges.

    The corner of the image lives in a unit box, scaled to the canvas - side pixels it can go. It starts anywhere,
    in any direction; in each frame it makes a step, and where it would leave the box it stops at the edge and
    turns round in that coordinate. Srivastava et al. 2015, section 4.1.1, as in the released code of
    Graphical-GAN (Li et al. 2018). A function of images and noise alone, which runs under vmap.

    Args:
        frames: length of a sequence.
        canvas: side of a frame, pixels.
        side: side of the images, pixels; smaller than the canvas.
        speed: length of a step, in sides of the box.
    """

    frames: Count
    canvas: Count
    side: Count
    speed: Positive = 0.1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a sequence, (frames, channels, height, width)."""
        return (self.frames, 1, self.canvas, self.canvas)

    @property
    def room(self) -> int:
        """Pixels that the corner can go in each direction: a position of 1 in the box."""
        return self.canvas - self.side

    def noise(self) -> dict[str, Noise]:
        """Return the laws of the place before the first step, in the box, and of the direction, in turns."""
        return {"start": Uniform(2), "direction": Uniform(1)}

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """Return sequences, (n, frames, 1, canvas, canvas), in the dtype of the images.

        Args:
            images: (n, 1, side, side); 0 is black.
            noise: as declared, (n, *shape).
        """
        angle = 2 * math.pi * noise["direction"]
        corners = self.corners(self.walk(noise["start"], angle, self.frames))
        return self.render(images, corners)

    def walk(self, start: Tensor, angle: Tensor, frames: int) -> Tensor:
        """Return the places after each of so many steps, (n, frames, 2), x before y.

        Args:
            start: places before the first step, (n, 2) in [0, 1].
            angle: direction, (n, 1), radians.
            frames: number of steps, >= 1.
        """
        place, velocity = start, self.speed * torch.cat([angle.cos(), angle.sin()], dim=1)
        places = []
        for _ in range(frames):
            free = place + velocity
            place = free.clamp(0, 1)
            velocity = torch.where(free == place, velocity, -velocity)
            places.append(place)
        return torch.stack(places, dim=1)

    def corners(self, places: Tensor) -> Tensor:
        """Return the pixels of the corners at places in the box, int64."""
        return (places * self.room).long()

    def render(self, images: Tensor, corners: Tensor) -> Tensor:
        """Return frames (n, frames, 1, canvas, canvas) of images (n, 1, side, side) at corners (n, frames, 2)."""
        black = torch.nn.functional.pad(images[:, 0], [self.room] * 4)
        # Pixel p of a frame shows pixel p - corner of the image, at room - corner + p of the padded one.
        windows = black.unfold(1, self.canvas, 1).unfold(2, self.canvas, 1)
        which = torch.arange(len(images), device=images.device)[:, None]
        columns, rows = (self.room - corners).unbind(2)
        return windows[which, rows, columns][:, :, None]
