"""Moving digits: one real digit that wanders over a black canvas and bounces, made as it is needed.

Training sees new trajectories in every epoch. What is measured, fitted to or averaged are the first 1,000
sequences of a split, with fixed trajectories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ganbench.datasets import Dataset, Source, digits, mnist, register
from ganbench.distributions.moving import Moving

MNIST = Moving(frames=16, canvas=64, side=28, speed=0.1)
"of Srivastava et al. 2015, with one digit; 3.6 pixels per frame"
DIGITS = Moving(frames=8, canvas=16, side=8, speed=0.25)
"2 pixels per frame, for 0.1 would be less than one: two lengths of the box, so that most digits bounce twice"


def load(name: str, base: Callable[[Path, bool], Dataset], view: Moving, root: Path, download: bool) -> Dataset:
    """Return the dataset of images of which games see moving sequences; a sequence has the label of its digit."""
    return replace(base(root, download), name=name, view=view)


for name, base, view, what in (
    ("moving-mnist", partial(mnist.load, "mnist", "MNIST"), MNIST, "MNIST digits"),
    ("moving-digits", digits.load, DIGITS, "scikit-learn digits"),
):
    for end, frames in (("", view.frames), ("-4", 4)):
        one = replace(view, frames=frames)
        summary = f"moving {what}, {frames} frames of {view.canvas}x{view.canvas}, new trajectories in every epoch"
        register(Source(name + end, summary, partial(load, name + end, base, one)))
