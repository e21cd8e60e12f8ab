"""Clusters by chance: what any clustering must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise

WRAPS = 1000.0
"turns of the hash as one pixel goes from grey to white: the smallest change of an item changes its cluster"


@dataclass(frozen=True)
class Config(GameConfig):
    clusters: Count = 10
    "number of clusters"


class ChanceClusters(Game):
    """Cluster probabilities uniform on the simplex, by a hash of the item: equal items have equal ones."""

    name = "chance-clusters"
    role = "reference"
    directions: Tensor
    sample = None  # type: ignore[assignment]  # so what is measured on samples says that it cannot be

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.register_buffer("directions", torch.zeros(data.mean.numel(), config.clusters))

    def noise(self) -> dict[str, Noise]:
        return {}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        drawn = torch.randn(self.directions.shape, generator=torch.Generator().manual_seed(seed % 2**63))
        self.directions = (WRAPS * drawn).to(images)

    def cluster(self, x: Tensor) -> Tensor:
        """Return the log-probabilities of the clusters, (n, clusters) float64."""
        hashed = (x.flatten(1).double() @ self.directions.double()).remainder(1)
        # Exponential numbers over their sum are uniform on the simplex.
        return (-torch.log1p(-hashed)).log().log_softmax(1)
