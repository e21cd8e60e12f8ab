"""Generative moment matching networks. Li, Swersky, Zemel 2015, arXiv:1502.02761, and their released code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear, mse_loss

from ganbench.game import MLP, SGD, Adam, Count, DataSpec, Game, Noise, Player, Published, Uniform
from ganbench.game import Config as GameConfig
from ganbench.losses import gaussian, mmd

KEEP = (0.8, 0.5)  # of the encoder's inputs and hidden units while the autoencoder is trained


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 10
    "size of z ~ U(-1, 1)"
    bandwidths: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
    "sigma of the kernels exp(-|x - y|^2 / (2 sigma)), not squared; x are pixels in [0, 1], vectors as they are"


@dataclass(frozen=True)
class CodeConfig(Config):
    bandwidths: tuple[float, ...] = (1.0,)
    "sigma of the kernels exp(-|x - y|^2 / (2 sigma)) on codes in [0, 1]"
    hidden: Count = 1024
    "hidden width of encoder and decoder"
    codes: Count = 32
    "length of a code"
    epochs: Count = 20
    "passes of the autoencoder over the training set, before the first round"
    rate: float = 1e-3
    "learning rate of Adam on the autoencoder"


def _parzen(value: float) -> tuple[Published, ...]:
    """One entry of the paper's MNIST table."""
    return (
        Published(
            "mnist",
            "parzen-goodfellow",
            value,
            2,
            "Li et al. 2015, Table 1; +- is the standard error over test images",
            comparable=False,
            note="released code: bandwidth from 0.10 to 0.29 in steps of 0.01, on 5,000 validation images",
        ),
    )


class GMMN(Game):
    """Generator that minimises the root of the biased squared MMD to the data. Li et al. 2015, eq. 3 and 5.

    The released code multiplies the loss by 1000 and divides it by its 1000 samples. After a quarter of the rounds
    it divides the rate by 10 and raises the momentum to .99, which leaves rate / (1 - momentum) as it was;
    "gmmn-2015" keeps both constant, and starts at the library's weights.
    """

    name = "gmmn"
    players = (Player("generator", nets=("G",), optimiser=Adam(1e-3, (0.9, 0.999))),)
    variants = {
        "gmmn": {},
        "gmmn-2015": {
            "backbone": MLP(generator=(64, 256, 256, 1024), generator_norm="none"),
            "generator.optimiser": SGD(2.0, momentum=0.9),
        },
    }
    published = {"gmmn-2015": _parzen(147)}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        self.G = self.make_generator()

    def make_generator(self) -> nn.Module:
        """Return the network that the player trains."""
        return self.config.backbone.make_generator(self.config.latent, self.data.shape)

    def noise(self) -> dict[str, Noise]:
        return {"z": Uniform(self.config.latent, low=-1.0, high=1.0)}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def units(self, x: Tensor) -> Tensor:
        """Return x (n, *shape) as the paper's vectors (n, d), pixels in [0, 1]."""
        return (x.flatten(1) + 1) / 2 if self.data.bounded else x

    def discrepancy(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the root of the biased squared MMD between two batches of vectors."""
        return mmd(lambda squared: gaussian(squared, self.config.bandwidths), x, y)

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.discrepancy(self.units(x), self.units(batch["fake"]))


class GMMNAE(GMMN):
    """GMMN in the code space of a frozen autoencoder, fitted before the first round. Li et al. 2015, section 4.

    The autoencoder has sigmoid units, the paper's dropout and cross-entropy (squared error for vectors); it is
    trained in one go by Adam, not layer by layer.
    """

    name = "gmmn-ae"
    variants = {"gmmn-ae": {"backbone": MLP(generator=(64, 256, 256, 1024), generator_norm="none")}}
    published = {"gmmn-ae": _parzen(282)}
    config: CodeConfig

    def __init__(self, data: DataSpec, config: CodeConfig = CodeConfig()) -> None:
        super().__init__(data, config)
        pixels = math.prod(data.shape)
        sizes = (pixels, config.hidden, config.codes, config.hidden, pixels)
        self.shapes = [(out, inputs) for inputs, out in pairwise(sizes)]
        for index, (out, inputs) in enumerate(self.shapes):
            # Buffers, not parameters: no player trains them.
            self.register_buffer(f"weight{index}", torch.zeros(out, inputs))
            self.register_buffer(f"bias{index}", torch.zeros(out))

    def make_generator(self) -> nn.Module:
        return self.config.backbone.make_generator(self.config.latent, (self.config.codes,))

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of the autoencoder's four layers."""
        return [(getattr(self, f"weight{i}"), getattr(self, f"bias{i}")) for i in range(len(self.shapes))]

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        generator = torch.Generator(images.device).manual_seed(seed)
        x = self.units(images)
        weights = [nn.init.xavier_uniform_(torch.empty(shape).to(x), generator=generator) for shape in self.shapes]
        layers = [(w.requires_grad_(), torch.zeros(len(w)).to(x).requires_grad_()) for w in weights]
        adam = torch.optim.Adam([tensor for layer in layers for tensor in layer], lr=self.config.rate)
        for _ in range(self.config.epochs):
            for index in torch.randperm(len(x), generator=generator, device=x.device).split(100):
                batch = x[index]
                hidden = _dropped(batch, KEEP[0], generator)
                hidden = _dropped(linear(hidden, *layers[0]).sigmoid(), KEEP[1], generator)
                codes = linear(hidden, *layers[1]).sigmoid()
                output = linear(linear(codes, *layers[2]).sigmoid(), *layers[3])
                error = binary_cross_entropy_with_logits if self.data.bounded else mse_loss
                adam.zero_grad()
                error(output, batch).backward()
                adam.step()
        for number, (weight, bias) in enumerate(layers):
            setattr(self, f"weight{number}", weight.detach())
            setattr(self, f"bias{number}", bias.detach())

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images or vectors, (n, codes) in [0, 1]."""
        first, second, _, _ = self.layers
        return linear(linear(self.units(x), *first).sigmoid(), *second).sigmoid()

    def decode(self, codes: Tensor) -> Tensor:
        """Return images or vectors (n, *shape) of codes (n, codes)."""
        _, _, third, last = self.layers
        output = linear(linear(codes, *third).sigmoid(), *last)
        return (2 * output.sigmoid() - 1).unflatten(1, self.data.shape) if self.data.bounded else output

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return images or vectors after their way through the codes."""
        return self.decode(self.encode(x))

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.decode(self.G(noise["z"]).sigmoid())

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {}

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.discrepancy(self.encode(x), self.G(batch["z"]).sigmoid())


def _dropped(x: Tensor, keep: float, generator: torch.Generator) -> Tensor:
    """Return x with a share of its numbers kept, and scaled up to the same mean."""
    uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x * (uniform < keep) / keep
