"""The two small classifiers whose last hidden layer serves as features of grey images and of 8x8 digits."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet(nn.Module):
    """A LeNet with batch norm for 28x28 grey images; 128 features, about 164,000 parameters.

    After LeCun et al. 1998 (Gradient-based learning applied to document recognition), with the batch norm of
    Ioffe and Szegedy 2015 and the dropout of Srivastava et al. 2014. The widths keep the weight file below
    1 MB and 10,000 images in float64 within seconds on a CPU.

    Args:
        classes: number of logits.
        dropout: chance in [0, 1) that a feature is dropped before the logits while training.
    """

    def __init__(self, classes: int = 10, dropout: float = 0.3) -> None:
        super().__init__()
        # no bias before a batch norm: the norm takes it out again
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 5, padding=2, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(96 * 3 * 3, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(128, classes))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, 128), >= 0, and logits (n, classes) of images (n, 1, 28, 28) in [0, 1]."""
        features = self.body(images)
        return features, self.head(features)


class MLP(nn.Module):
    """A perceptron with two hidden layers for 8x8 digits; 64 features, about 25,000 parameters.

    Args:
        classes: number of logits.
        dropout: chance in [0, 1) that a feature is dropped before the logits while training.
    """

    def __init__(self, classes: int = 10, dropout: float = 0.3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * 8, 192, bias=False), nn.BatchNorm1d(192), nn.ReLU(),
            nn.Linear(192, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(64, classes))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (n, 64), >= 0, and logits (n, classes) of images (n, 1, 8, 8) in [0, 1]."""
        features = self.body(images)
        return features, self.head(features)


class Pixels(nn.Module):
    """The identity: the pixels, flattened, are the features; there are no logits."""

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return images (n, channels, height, width) as features (n, channels * height * width)."""
        return images.flatten(1), None
