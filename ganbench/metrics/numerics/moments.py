"""Mean and covariance of a stream of features, and pytorch-fid's file of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics.numerics.checks import matrix
from ganbench.metrics.numerics.threads import in_threads
from ganbench.records import write_whole

COLUMNS = 256
"columns of the covariance computed at once: enough for a fast product, few enough to leave out nearly half"


def _upper_products(rows: Tensor) -> Tensor:
    """Return rows.T @ rows, (d, d), without most of what lies below the diagonal."""
    d = rows.shape[1]
    products = rows.new_zeros(d, d)

    def fill(start: int) -> None:
        part = slice(start, start + COLUMNS)
        products[part, start:] = rows[:, part].T @ rows[:, start:]

    in_threads(fill, range(0, d, COLUMNS))
    return products


class Moments:
    """Mean and covariance of batches seen one after another; the result does not depend on the batch size.

    Source: Chan, Golub and LeVeque 1979, pairwise update of sums of squares.
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)  # above the diagonal

    def add(self, batch: Tensor) -> None:
        """Take in features (n, d), n >= 1; UserError if they are not finite or d changes."""
        batch = matrix("features", batch).double()
        part = Moments()
        part.n, part._mean = len(batch), batch.mean(dim=0)
        part._scatter = _upper_products(batch - part._mean)
        self.merge(part)

    def merge(self, other: Moments) -> None:
        """Take in all items (at least 1) of other moments; UserError if d differs."""
        if self.n == 0:
            self.n, self._mean, self._scatter = other.n, other._mean.clone(), other._scatter.clone()
            return
        if len(other._mean) != len(self._mean):
            raise UserError(f"expected features of {len(self._mean)} dimensions as before, got {len(other._mean)}")
        shift = other._mean - self._mean
        total = self.n + other.n
        self._scatter.add_(other._scatter).addr_(shift, shift, alpha=self.n * other.n / total)
        self._mean = self._mean + shift * (other.n / total)
        self.n = total

    def mean(self) -> Tensor:
        """Return the mean, (d,) float64; UserError before the first batch."""
        self._require(1)
        return self._mean

    def covariance(self) -> Tensor:
        """Return the unbiased covariance (ddof=1), (d, d) float64; UserError below 2 items."""
        self._require(2)
        upper = self._scatter.triu()
        return (upper + upper.triu(1).T).div_(self.n - 1)

    def _require(self, least: int) -> None:
        if self.n < least:
            raise UserError(f"expected at least {least} feature vectors, got {self.n}; add more batches")


def write_statistics(path: Path, mean: Tensor, covariance: Tensor) -> None:
    """Write `mu` (d,) and `sigma` (d, d) in float64, as pytorch-fid's --save-stats does."""
    content = io.BytesIO()
    np.savez_compressed(content, mu=mean.double().cpu().numpy(), sigma=covariance.double().cpu().numpy())
    write_whole(path, content.getvalue())


def read_statistics(path: Path) -> tuple[Tensor, Tensor]:
    """Return `mu` (d,) and `sigma` (d, d) as float64 from a file of pytorch-fid; UserError if it is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return torch.from_numpy(stored["mu"]).double(), torch.from_numpy(stored["sigma"]).double()
    except (OSError, KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise UserError(
            f"'{path}' holds no statistics: expected an .npz file with arrays mu and sigma"
            " as pytorch-fid --save-stats writes; write it again"
        ) from error
