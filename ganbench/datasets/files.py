"""Files of published datasets: found, checked, fetched if allowed; a file of the user is never changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ganbench.errors import UserError


def brief(error: BaseException) -> str:
    """Return an exception as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def damaged(path: Path, expected: str, found: str) -> UserError:
    """Return the error for a file whose content is not what it must be."""
    return UserError(
        f"{path} is damaged: expected {expected}, found {found}; "
        "replace it with the original, or move it away to have it fetched again"
    )


def read(path: Path) -> bytes:
    """Return the content of a file; UserError names it if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or brief(error)
        raise UserError(f"{path} cannot be read: {why}; check its permissions") from error


def check(path: Path, content: bytes, algorithm: str, digest: str) -> None:
    """Raise UserError unless the content has the published checksum."""
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != digest:
        raise damaged(path, f"{algorithm} {digest}", found)


def absent(
    name: str, folder: Path, files: Sequence[str], why: str, forms: Sequence[str] = ("",), hint: str = ""
) -> UserError:
    """Return the error for files that are neither there nor to be had.

    Args:
        name: dataset.
        folder: where the files are looked for.
        files: names of all files that are needed.
        why: what was found and why nothing was fetched.
        forms: suffixes under which a file may also lie, e.g. ("", ".gz").
        hint: another way that is open to the user.
    """
    ending = f"[{']['.join(forms[1:])}]" if len(forms) > 1 else ""
    wanted = ", ".join(f"{file}{ending}" for file in files)
    return UserError(
        f"{name}: expected {wanted} in {folder}; {why}; put them there{hint}, "
        "or try --suite digits, which needs no files"
    )


def locate(folder: Path, file: str, forms: Sequence[str] = ("",)) -> Path | None:
    """Return the first form of a file that exists, or None."""
    return next((path for form in forms if (path := folder / f"{file}{form}").is_file()), None)


def require(
    name: str,
    root: Path,
    folder: Path,
    files: Sequence[str],
    get: Callable[[str], object] | None,
    forms: Sequence[str] = ("",),
    hint: str = "",
) -> list[Path]:
    """Return where each file lies, after fetching what is missing if that is allowed.

    Args:
        name: dataset.
        root: data folder, the only place that is written to, and only when something is fetched.
        folder: folder under the root that holds the files.
        files: names of all files that are needed.
        get: downloads the set in torchvision's layout into the folder given; None if downloading is off.
        forms: suffixes under which a file may also lie.
        hint: another way that is open to the user, for the error message.
    """
    missing = [file for file in files if locate(folder, file, forms) is None]
    if missing and get is None:
        what = "none found" if len(missing) == len(files) else f"{', '.join(missing)} not found"
        why = f"{what} and downloading is off (--no-download)"
        raise absent(name, folder, files, why, forms, hint)
    if missing and get is not None:
        try:
            _fetch(root, get)
        # A mirror can fail in any way: URLError, RuntimeError, a broken archive, a full or read-only disk.
        except Exception as error:
            raise absent(name, folder, files, f"download failed: {brief(error)}", forms, hint) from error
    paths = [locate(folder, file, forms) for file in files]
    if None in paths:
        raise absent(name, folder, files, "the download did not bring all of them", forms, hint)
    return [path for path in paths if path is not None]


def _fetch(root: Path, get: Callable[[str], object]) -> None:
    """Download beside the data and move in what is new: no half file, and no file of the user replaced."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
        get(temporary)
        for file in sorted(path for path in Path(temporary).rglob("*") if path.is_file()):
            target = root / file.relative_to(temporary)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
