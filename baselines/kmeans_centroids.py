"""k-means centroids as 'samples': beats real images on the Parzen score. Theis et al. 2016, Table 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.game import Config as GameConfig
from ganbench.game import Count, DataSpec, Game, Noise, Published, Uniform


@dataclass(frozen=True)
class Config(GameConfig):
    centroids: Count = 1000
    "number of centroids, at most the number of training images"


class KMeansCentroids(Game):
    """Centroids of the training images, drawn at random with replacement. Theis et al. 2016, section 3.2."""

    name = "kmeans-centroids"
    role = "copy"  # a centroid of few images is nearly one of them
    published = {
        "kmeans-centroids": (
            Published(
                "mnist",
                "parzen-goodfellow",
                313,
                float("nan"),
                "Theis et al. 2016, Table 1, k-means",
                comparable=False,
                note="10,000 centroids there; quoted from memory",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.register_buffer("centres", torch.zeros(config.centroids, *data.shape))

    def noise(self) -> dict[str, Noise]:
        return {"place": Uniform(1)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        from sklearn.cluster import MiniBatchKMeans  # slow to import, needed here only

        count = min(self.config.centroids, len(images))
        means = MiniBatchKMeans(count, random_state=seed % 2**32, n_init=1, batch_size=4096, max_iter=50).fit(
            images.flatten(1).cpu().double().numpy()
        )
        centres = torch.from_numpy(means.cluster_centers_).to(images)
        self.centres = centres.reshape(count, *images.shape[1:])

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        index = (noise["place"][:, 0].double() * len(self.centres)).long().clamp(max=len(self.centres) - 1)
        return self.centres[index]

    def cluster(self, x: Tensor) -> Tensor:
        """Return log-probabilities (n, centroids) as if each centroid were the mean of a unit Gaussian.

        The nearest centroid is the likeliest: -|x - c|^2 / 2 but for what all centroids share.
        """
        centres = self.centres.flatten(1)
        return (x.flatten(1) @ centres.T - centres.square().sum(1) / 2).log_softmax(1)
