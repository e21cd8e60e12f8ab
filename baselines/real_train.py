"""The training set as a 'model': what a perfect memory scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganbench.game import Config, DataSpec, Game, Noise, Published, Uniform


class RealTrain(Game):
    """Training images drawn at random with replacement: the best samples there are, and none is new."""

    name = "real-train"
    role = "copy"
    published = {
        "real-train": (
            Published(
                "mnist",
                "parzen-goodfellow",
                243,
                float("nan"),
                "Theis et al. 2016, Table 1, true training images",
                note="quoted from memory; which 10,000 images is not stated",
            ),
            Published(
                "mnist",
                "parzen-fgan",
                502,
                5.99,
                "Nowozin et al. 2016, KDE table for MNIST; +- is the standard error over test images",
                comparable=False,
                note="60,000 kernels; the paper's absolute scale is not that of pixels in [0, 1]",
            ),
        )
    }

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.register_buffer("images", torch.empty(0, dtype=torch.uint8))

    def noise(self) -> dict[str, Noise]:
        return {"place": Uniform(1)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        self.images = ((images + 1) * 127.5).round().to(torch.uint8) if self.data.bounded else images

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        index = (noise["place"][:, 0].double() * len(self.images)).long().clamp(max=len(self.images) - 1)
        images = self.images[index].to(noise["place"].dtype)
        return images / 127.5 - 1 if self.data.bounded else images
