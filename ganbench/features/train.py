"""Train the classifiers behind the small extractors: `python -m ganbench.features.train lenet-mnist-v1`.

Every network learns from the training split only, with AdamW (weight decay 0.01), the one-cycle schedule of
Smith and Topin 2017 (up to the peak learning rate in 30 % of the steps, then down to zero), cross-entropy,
dropout 0.3 before the logits, seed 0, and augmentation drawn anew for every batch:

- lenet-mnist-v1: 12 epochs in batches of 200, peak 4e-3; turn to 10 degrees, zoom to 10 %, shift to 2 pixels.
- lenet-fashion-v1: 24 epochs in batches of 200, peak 4e-3; half of the images mirrored, shift to 2 whole
  pixels, in half of the images a random rectangle erased.
- mlp-digits-v1: 150 epochs in batches of 100, peak 1e-2; turn to 8 degrees, zoom to 8 %, shift to 0.5 pixels.

The weights kept are those of the epoch with the highest validation accuracy (the later one of equals); the
test split is looked at once, for the accuracy of the stored file. Another machine adds floats in another
order, so there the recipe gives weights of the same quality, not the same bytes: the shipped files are the
reference, and other weights get another name (`-v2`).
"""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ganbench import datasets
from ganbench.errors import UserError
from ganbench.features import extract
from ganbench.features.classifiers import WEIGHTS, load_classifier
from ganbench.features.networks import MLP, LeNet
from ganbench.records import write_whole

Augment = Callable[[Tensor, Generator], Tensor]


def uniform(n: int, reach: float, generator: Generator) -> Tensor:
    """Return n numbers drawn evenly from [-reach, reach]."""
    return (2 * torch.rand(n, generator=generator) - 1) * reach


def affine(degrees: float, zoom: float, pixels: float, whole: bool = False) -> Augment:
    """Return an augmentation that turns, zooms and shifts each image by its own draw.

    Args:
        degrees: largest angle, either way.
        zoom: largest relative change of size, in [0, 1).
        pixels: largest shift along each axis.
        whole: shift by whole pixels, so that without turn and zoom nothing is blurred.
    """

    def augment(images: Tensor, generator: Generator) -> Tensor:
        n, size = len(images), images.shape[-1]
        angle = uniform(n, math.radians(degrees), generator)
        scale = 1 + uniform(n, zoom, generator)
        shift = uniform(2 * n, pixels + 0.5 if whole else pixels, generator).view(n, 2)
        shift = shift.round().clamp(-pixels, pixels) if whole else shift
        cos, sin = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([cos, -sin, sin, cos], 1).view(n, 2, 2)
        theta = torch.cat([turn, 2 / size * shift[:, :, None]], 2)  # the grid spans [-1, 1]
        return F.grid_sample(images, F.affine_grid(theta, list(images.shape), False), align_corners=False)

    return augment


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror half of the images, left to right."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def erase(images: Tensor, generator: Generator) -> Tensor:
    """Fill a rectangle of sides up to 12 pixels with one grey, in half of the images (Zhong et al. 2020)."""
    n, size = len(images), images.shape[-1]
    pixel = torch.arange(size)
    inside = []
    for _ in ("row", "column"):
        centre = torch.randint(size, (n, 1), generator=generator)
        half = torch.randint(1, 7, (n, 1), generator=generator)
        inside.append((pixel >= centre - half) & (pixel < centre + half))
    chosen = torch.rand(n, generator=generator) < 0.5
    hole = inside[0][:, :, None] & inside[1][:, None, :] & chosen[:, None, None]
    return torch.where(hole[:, None], torch.rand(n, generator=generator)[:, None, None, None], images)


def chain(*steps: Augment) -> Augment:
    """Return the augmentation that applies the given ones in turn."""

    def augment(images: Tensor, generator: Generator) -> Tensor:
        for step in steps:
            images = step(images, generator)
        return images

    return augment


@dataclass(frozen=True)
class Recipe:
    """How one classifier is trained: dataset, network, epochs, batch, peak learning rate, augmentation."""

    dataset: str
    build: Callable[[], nn.Module]
    epochs: int
    batch: int
    rate: float
    augment: Augment


RECIPES = {
    "lenet-mnist-v1": Recipe("mnist", LeNet, 12, 200, 4e-3, affine(10, 0.1, 2)),
    "lenet-fashion-v1": Recipe(
        "fashion-mnist", LeNet, 24, 200, 4e-3, chain(flip, affine(0, 0, 2, whole=True), erase)
    ),
    "mlp-digits-v1": Recipe("digits", MLP, 150, 100, 1e-2, affine(8, 0.08, 0.5)),
}


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images (n, 1, height, width), uint8, whose largest logit is at the label (n,)."""
    logits = extract(network, images.float() / 255)[1]
    assert logits is not None
    return (logits.argmax(1) == labels).double().mean().item()


def fit(recipe: Recipe, data: datasets.Dataset, seed: int = 0) -> tuple[dict[str, Tensor], float]:
    """Return the state of the epoch that is best on the validation split, and its accuracy there."""
    torch.manual_seed(seed)  # initial weights and dropout
    generator = torch.Generator().manual_seed(seed)  # order and augmentation
    network = recipe.build()
    images, labels = data.images["train"], data.labels["train"]
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=0.01)
    steps = recipe.epochs * (len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    best, state = -1.0, {}
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        order = torch.randperm(len(images), generator=generator)
        for index in order[: len(order) // recipe.batch * recipe.batch].split(recipe.batch):
            batch = recipe.augment(images[index].float() / 255, generator)
            loss = F.cross_entropy(network(batch)[1], labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        score = accuracy(network, data.images["validation"], data.labels["validation"])
        print(f"epoch {epoch:3d}  last loss {loss.item():.4f}  validation accuracy {score:.4f}", flush=True)
        if score >= best:
            best, state = score, {key: value.clone() for key, value in network.state_dict().items()}
    return state, best


def main() -> None:
    """Train one classifier, store it, and report the hash and the accuracies of the stored file."""
    parser = argparse.ArgumentParser(description="train a classifier that serves as a feature extractor")
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data-root", type=Path, help="folder of the datasets; default: GANBENCH_DATA")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder that gets NAME.safetensors")
    chosen = parser.parse_args()
    recipe = RECIPES[chosen.name]
    try:
        data = datasets.load(recipe.dataset, chosen.data_root)
    except UserError as error:
        parser.exit(2, f"ganbench: error: {error}\n")
    state, validation = fit(recipe, data)
    content = safetensors.torch.save(state)
    file = chosen.out / f"{chosen.name}.safetensors"
    write_whole(file, content)
    sha256 = hashlib.sha256(content).hexdigest()
    stored = load_classifier(file, sha256, recipe.build)
    test = accuracy(stored, data.images["test"], data.labels["test"])
    print(f"{file}  {len(content)} bytes  sha256 {sha256}")
    print(f"validation accuracy {validation:.4f}  test accuracy {test:.4f}")


if __name__ == "__main__":
    main()
