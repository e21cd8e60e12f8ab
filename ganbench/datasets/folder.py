"""folder:PATH: the user's own image files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ganbench.datasets import Dataset, splits
from ganbench.datasets.files import brief
from ganbench.errors import UserError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLITS = ("train", "validation", "test")
GREY = {"1", "L", "LA"}
DEEP = ("I", "F")


def load(name: str, root: Path) -> Dataset:
    """Return the dataset of a folder of images of one size, found at any depth, in the order of their names.

    With sub-folders train and test (and validation or val, else a tenth of train), those are the splits, and
    where every image lies in split/class/ the class folders are the labels (torchvision's ImageFolder).
    Otherwise the folder is one unlabelled pool. A pool is cut 80/10/10 by a hash of each name relative to
    it, so that adding files never moves one to another split. Grey if all are grey, else RGB; transparency
    is dropped. UserError names the first file that cannot be read or differs in size.

    Args:
        name: dataset, as typed.
        root: the folder.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; expected a folder of images ({' '.join(sorted(ENDINGS))})")
    members = sort_out(root, _find)
    channels, size = agree([path for paths in members.values() for path in paths])
    images = {}
    for split, paths in members.items():
        array = np.empty((len(paths), channels, *size), np.uint8)
        for row, path in zip(array, paths, strict=True):
            row[:] = read_pixels(path, channels)
        images[split] = torch.from_numpy(array)
    classes, labels = _labels(root, members)
    return Dataset(name, images, labels, classes)


def sort_out(root: Path, find: Callable[[Path], list[Path]], what: str = "image") -> dict[str, list[Path]]:
    """Return the paths of each split, found below a folder by a function; UserError if one has none."""
    members = _members(root, find)
    for split, paths in members.items():
        if not paths:
            raise UserError(
                f"{root} gives no {split} {what} ({sum(map(len, members.values()))} in all); "
                f"add {what}s, or sort them into the sub-folders train, validation and test"
            )
    return members


def _members(root: Path, find: Callable[[Path], list[Path]]) -> dict[str, list[Path]]:
    places = {split: root / split for split in SPLITS}
    if not places["validation"].is_dir():
        places["validation"] = root / "val"
    given = {split: find(place) for split, place in places.items() if place.is_dir()}
    if not given:
        return _cut(root, find(root), {8: "validation", 9: "test"})
    if "train" not in given or "test" not in given:
        have = ", ".join(places[split].name for split in given)
        raise UserError(f"{root} has the sub-folder {have}; expected both train and test, or none of them")
    if "validation" not in given:
        given |= _cut(root / "train", given["train"], {9: "validation"}, ("train", "validation"))
    return {split: given[split] for split in SPLITS}


def _find(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted; hidden ones are not the user's."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    return sorted((path for path in paths if path.is_file()), key=Path.as_posix)


def _cut(
    folder: Path, paths: list[Path], special: dict[int, str], names: tuple[str, ...] = SPLITS
) -> dict[str, list[Path]]:
    """Deal files to splits by the tenth into which the hash of their name falls; the rest is train."""
    parts: dict[str, list[Path]] = {split: [] for split in names}
    for path in paths:
        digest = hashlib.sha256(path.relative_to(folder).as_posix().encode()).digest()
        parts[special.get(int.from_bytes(digest[:8], "big") % 10, "train")].append(path)
    return parts


def agree(paths: list[Path]) -> tuple[int, tuple[int, int]]:
    """Return channels and (height, width) after reading all headers; UserError names the first that differs."""
    from PIL import Image

    grey, common = True, (0, 0)
    for path in paths:
        try:
            with Image.open(path) as image:
                mode, size = image.mode, image.size
        except Exception as error:
            raise _unreadable(path, error) from error
        if mode.startswith(DEEP):
            raise UserError(f"{path} has more than 8 bits per channel (mode {mode}); convert all images to 8 bits")
        grey, common = grey and mode in GREY, common if common[0] else size
        if size != common:
            raise UserError(
                f"{path} is {size[0]}x{size[1]}, but {paths[0]} is {common[0]}x{common[1]}; "
                "crop or resize all images to one size first"
            )
    return 1 if grey else 3, (common[1], common[0])


def read_pixels(path: Path, channels: int) -> np.ndarray:
    """Return uint8 (channels, height, width)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.atleast_3d(np.asarray(image.convert("L" if channels == 1 else "RGB"))).transpose(2, 0, 1)
    # Pillow's decoders raise OSError, SyntaxError, ValueError, EOFError, struct.error and more.
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as an image: {brief(error)}; replace it or take it away")


def _labels(root: Path, members: dict[str, list[Path]]) -> tuple[int, dict[str, torch.Tensor]]:
    """Return the number of classes and the labels, if every image lies in split/class/file."""
    parts = [path.relative_to(root).parts for paths in members.values() for path in paths]
    if not (root / "train").is_dir() or any(len(part) != 3 for part in parts):
        return 0, {}
    number = {folder: label for label, folder in enumerate(sorted({part[1] for part in parts}))}
    labels = {split: np.array([number[path.parent.name] for path in paths]) for split, paths in members.items()}
    return len(number), {split: splits.labels(array) for split, array in labels.items()}
