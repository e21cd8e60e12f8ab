"""The idx format of MNIST, plain or gzipped, read with every check that it allows."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ganbench.datasets.files import brief, check, damaged, read


def read_idx(path: Path, sha256: str = "") -> np.ndarray:
    """Return the uint8 array of an idx file.

    Args:
        path: file; unzipped in memory if its name ends in .gz.
        sha256: published checksum of the content, unzipped; not checked if empty.

    UserError names the file if it is cut short, not idx, or not the published one. Format: LeCun, "The MNIST
    database": two zero bytes, type (8: uint8), number of axes, each length as a big-endian int32, the data.
    """
    content = read(path)
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise damaged(path, "a whole gzip file", f"{len(content)} bytes ({brief(error)})") from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    if not axes or len(content) < 4 + 4 * axes:
        start = content[:4].hex() or "nothing"
        raise damaged(path, "an idx file of uint8", f"{len(content)} bytes that start with {start}")
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    size = 4 + 4 * axes + math.prod(shape)
    if len(content) != size:
        raise damaged(path, f"{size} bytes for its shape {shape}", f"{len(content)} bytes")
    if sha256:
        check(path, content, "sha256", sha256)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
