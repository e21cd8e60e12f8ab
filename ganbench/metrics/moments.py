"""Mean and covariance of a stream of features, and pytorch-fid's file of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganbench.metrics.inputs import matrix
from ganbench.record import write_whole
from ganbench.registry import UserError


class Moments:
    """Mean and covariance of batches seen one after another; the result does not depend on the batch size.

    Source: Chan, Golub and LeVeque 1979, pairwise update of sums of squares.
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, batch: Tensor) -> None:
        """Take in features (n, d), n >= 1; UserError if they are not finite or d changes."""
        batch = matrix("features", batch)
        n, mean = len(batch), batch.mean(dim=0)
        centred = batch - mean
        scatter = centred.T @ centred
        if self.n == 0:
            self.n, self._mean, self._scatter = n, mean, scatter
            return
        if len(mean) != len(self._mean):
            raise UserError(f"expected features of {len(self._mean)} dimensions as before, got {len(mean)}")
        shift = mean - self._mean
        total = self.n + n
        self._scatter = self._scatter + scatter + torch.outer(shift, shift) * (self.n * n / total)
        self._mean = self._mean + shift * (n / total)
        self.n = total

    def mean(self) -> Tensor:
        """Return the mean, (d,) float64; UserError before the first batch."""
        self._require(1)
        return self._mean

    def covariance(self) -> Tensor:
        """Return the unbiased covariance (ddof=1), (d, d) float64; UserError below 2 items."""
        self._require(2)
        return self._scatter / (self.n - 1)

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
