"""npz:PATH: the user's own arrays in one NumPy file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ganbench.datasets import Dataset, splits
from ganbench.datasets.files import brief
from ganbench.errors import UserError

POOLS = ("arr_0", "images")
SPLITS = ("train", "validation", "test")
KEYS = "x_train, y_train, x_test, y_test (and x_validation, y_validation), or one array arr_0 or images"


def load(name: str, path: Path) -> Dataset:
    """Return the dataset of an npz file.

    Images are (n, h, w), (n, h, w, c) or (n, c, h, w) with c = 1 or 3, as uint8 or as floats in [0, 1] or
    [0, 255]. With x_train and x_test, validation is x_validation, else the last tenth of x_train; the y_
    arrays may be left out. One array, arr_0 (guided-diffusion's format) or images, is split 80/10/10 in a
    fixed order. UserError names the file and the key if something is absent, damaged or of another kind.

    Args:
        name: dataset, as typed.
        path: the file.
    """
    arrays = _read(path)
    pool = next((key for key in POOLS if key in arrays), "")
    if pool and "x_train" not in arrays:
        images = splits.images(_images(path, {pool: arrays[pool]})[pool])
        tenth = len(images) // 10
        if not tenth:
            raise UserError(f"{path}: {pool} holds {len(images)} images; three splits need at least 10")
        return splits.pooled(name, images, None, (len(images) - 2 * tenth, tenth, tenth), 0)
    lacking = [key for key in ("x_train", "x_test") if key not in arrays]
    if lacking:
        raise UserError(f"{path} has no {' and no '.join(lacking)}: expected {KEYS}; found {', '.join(arrays)}")
    given = [split for split in SPLITS if f"x_{split}" in arrays]
    x = _images(path, {f"x_{split}": arrays[f"x_{split}"] for split in given})
    labelled = any(f"y_{split}" in arrays for split in given)
    y = {f"y_{split}": _labels(path, arrays, split) for split in given} if labelled else {}
    if "validation" not in given:
        tenth = max(1, len(x["x_train"]) // 10)
        if len(x["x_train"]) == 1:
            raise UserError(f"{path}: x_train holds 1 image; give x_validation, or at least 2 to split")
        for part, key in ((x, "x"), (y, "y")) if y else ((x, "x"),):
            whole = part[f"{key}_train"]
            part[f"{key}_train"], part[f"{key}_validation"] = whole[:-tenth], whole[-tenth:]
    return Dataset(
        name,
        {split: splits.images(x[f"x_{split}"]) for split in SPLITS},
        {split: splits.labels(y[f"y_{split}"]) for split in SPLITS} if y else {},
        1 + max(int(value.max()) for value in y.values()) if y else 0,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{path} does not exist; expected an .npz file with {KEYS}")
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is not a whole .npz file: it is no zip, or cut short; save it again with numpy.savez"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    # A pickled or damaged member, a wrong header: NumPy and zipfile raise each their own.
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path} is not a whole .npz file of plain arrays: {brief(error)}; save it again"
        ) from error


def _images(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return all arrays as uint8 (n, c, h, w) of one shape, floats stretched by one common factor."""
    scale = 255
    for key, array in arrays.items():
        if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{path}: {key} is {array.dtype}; expected uint8, or floats in [0, 1] or [0, 255]")
        if not array.size:
            raise UserError(f"{path}: {key} is empty, of shape {array.shape}; expected images")
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 255):
            raise UserError(f"{path}: {key} lies in [{low:g}, {high:g}]; expected [0, 1] or [0, 255], no NaN")
        # One split may be dark by chance: floats are in [0, 1] only if no split goes above.
        if array.dtype != np.uint8 and high > 1:
            scale = 1
    x = {key: _planar(path, key, array, scale) for key, array in arrays.items()}
    shapes = {key: array.shape[1:] for key, array in x.items()}
    if len(set(shapes.values())) > 1:
        given = ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes.items())
        raise UserError(f"{path}: the splits differ in shape ({given}); bring all images to one shape")
    return x


def _planar(path: Path, key: str, array: np.ndarray, scale: int) -> np.ndarray:
    """Return uint8 (n, c, h, w); where both readings are possible, channels are last."""
    if array.dtype != np.uint8:
        array = np.rint(array.astype(np.float64) * scale).astype(np.uint8)
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[3] in (1, 3):
        return array.transpose(0, 3, 1, 2)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array
    raise UserError(f"{path}: {key} has shape {array.shape}; expected (n, h, w), (n, h, w, c) or (n, c, h, w)")


def _labels(path: Path, arrays: dict[str, np.ndarray], split: str) -> np.ndarray:
    """Return the labels of a split, one for each image."""
    key, n = f"y_{split}", len(arrays[f"x_{split}"])
    if key not in arrays:
        raise UserError(f"{path} has no {key}; give labels for every split, or for none")
    y = arrays[key].reshape(-1)
    if not np.issubdtype(y.dtype, np.integer) or len(y) != n or y.min() < 0:
        given = f"{arrays[key].dtype} of shape {arrays[key].shape}, from {y.min() if len(y) else 'none'}"
        raise UserError(f"{path}: {key} is {given}; expected {n} integers from 0, one for each image")
    return y
