"""frames:PATH: the user's own sequences, e.g. the rotations of 3D Chairs, one folder of image files each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from ganbench.datasets import Dataset
from ganbench.datasets.folder import ENDINGS, agree, read_pixels, sort_out
from ganbench.errors import UserError


def load(name: str, root: Path) -> Dataset:
    """Return the unlabelled dataset of a folder of sequences of one length and one image size.

    A sequence is a folder, at any depth, that holds image files; they are its frames in the order of their names,
    in which 10 comes after 9. The splits are as in `folder`: the sub-folders train, test and validation, or else
    80/10/10 by a hash of the folder names. Grey if all are grey, else RGB.

    Args:
        name: dataset, as typed.
        root: the folder.

    Raises:
        UserError: too few sequences; or the first one that differs in length, or file that cannot be read or
            differs in size.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; expected a folder with one sub-folder of images per sequence")
    members = sort_out(root, _find, "sequence")
    files = {folder: _frames(folder) for folders in members.values() for folder in folders}
    first, length = next((folder, len(frames)) for folder, frames in files.items())
    for folder, frames in files.items():
        if len(frames) != length:
            raise UserError(
                f"{folder} has {len(frames)} frames, but {first} has {length}; cut all sequences to one length"
            )
    if length < 2:
        raise UserError(f"{first} has one frame, and so have all; for single images take folder:{root}")
    channels, size = agree([path for frames in files.values() for path in frames])
    images = {}
    for split, folders in members.items():
        array = np.empty((len(folders), length, channels, *size), np.uint8)
        for sequence, folder in zip(array, folders, strict=True):
            for row, path in zip(sequence, files[folder], strict=True):
                row[:] = read_pixels(path, channels)
        images[split] = torch.from_numpy(array)
    return Dataset(name, images)


def _find(root: Path) -> list[Path]:
    """Return the folders below a folder that hold images, sorted."""
    folders = (path for path in root.rglob("*") if path.is_dir() and path.name[0] != ".")
    return sorted((folder for folder in folders if _frames(folder)), key=Path.as_posix)


def _frames(folder: Path) -> list[Path]:
    """Return the images of a folder, frame 10 after frame 9."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    return sorted((path for path in paths if path.is_file()), key=_order)


def _order(path: Path) -> list[tuple[int, str]]:
    """Return the parts of a name, runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
