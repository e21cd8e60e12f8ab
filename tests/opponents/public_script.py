"""The training loop that most public GAN scripts share, as the opponent of our engine.

A module for each network, a loader with per-image transforms, binary cross-entropy on sigmoids, numpy noise, two
Adam optimisers with default settings, generator first, losses read after every step: all of it kept on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

LATENT = 100


class Images(torch.utils.data.Dataset):
    """Grey images in memory, handed out one by one through PIL, as torchvision's MNIST does."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        steps = [transforms.Resize(images.shape[-1]), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index, 0].numpy())), 0


def dense(latent: int, widths: list[int], outputs: tuple[int, ...]) -> nn.Module:
    """Return the fully connected generator: no norm after the first layer, epsilon 0.8 after the others."""
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(zip([latent, *widths], widths, strict=False)):
        layers.append(nn.Linear(fan_in, fan_out))
        if index:
            layers.append(nn.BatchNorm1d(fan_out, 0.8))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    size = int(np.prod(outputs))
    return nn.Sequential(*layers, nn.Linear(widths[-1], size), nn.Tanh(), nn.Unflatten(1, outputs))


def dense_critic(inputs: tuple[int, ...], widths: list[int]) -> nn.Module:
    """Return the fully connected discriminator, ending in a sigmoid."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in zip([int(np.prod(inputs)), *widths], widths, strict=False):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 1), nn.Sigmoid())


def convolutional(width: int) -> tuple[nn.Module, nn.Module]:
    """Return generator and discriminator of a DCGAN for 28 x 28: 7 x 7, doubled twice."""
    generator = nn.Sequential(
        nn.Linear(LATENT, 2 * width * 49),
        nn.Unflatten(1, (2 * width, 7, 7)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width, 1, 4, 2, 1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(2 * width * 49, 1),
        nn.Sigmoid(),
    )
    return generator, discriminator


class Script:
    """A training in progress; `steps` goes on with it.

    Args:
        images: uint8 (n, 1, height, width) on the CPU.
        generator, discriminator: its networks.
        batch: images per step.
        device: where the networks live.
    """

    def __init__(
        self, images: Tensor, generator: nn.Module, discriminator: nn.Module, batch: int, device: str
    ) -> None:
        self.device = torch.device(device)
        self.generator, self.discriminator = generator.to(self.device), discriminator.to(self.device)
        self.loader = torch.utils.data.DataLoader(Images(images), batch_size=batch, shuffle=True)
        self.loss = nn.BCELoss().to(self.device)
        self.optimisers = [
            torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, discriminator)
        ]
        self._batches = self._endless()

    def _endless(self) -> Iterator[Tensor]:
        while True:
            for images, _ in self.loader:
                yield images

    def steps(self, count: int) -> None:
        for _ in range(count):
            self._step(next(self._batches))

    def _step(self, images: Tensor) -> None:
        real = images.to(self.device)
        valid = torch.ones(len(real), 1, device=self.device)
        fake = torch.zeros(len(real), 1, device=self.device)
        for_generator, for_discriminator = self.optimisers

        for_generator.zero_grad()
        noise = torch.tensor(np.random.normal(0, 1, (len(real), LATENT)), dtype=torch.float32, device=self.device)
        generated = self.generator(noise)
        generator_loss = self.loss(self.discriminator(generated), valid)
        generator_loss.backward()
        for_generator.step()

        for_discriminator.zero_grad()
        on_real = self.loss(self.discriminator(real), valid)
        on_fake = self.loss(self.discriminator(generated.detach()), fake)
        discriminator_loss = (on_real + on_fake) / 2
        discriminator_loss.backward()
        for_discriminator.step()
        self.last = discriminator_loss.item(), generator_loss.item()  # printed by the scripts
