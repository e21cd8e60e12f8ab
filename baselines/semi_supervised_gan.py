"""Semi-supervised GAN with feature matching. Salimans et al. 2016, arXiv:1606.03498, section 5 and code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganbench.game import (
    MLP,
    Adam,
    Count,
    DataSpec,
    Game,
    Noise,
    NonNegative,
    Normal,
    Player,
    Published,
    Uniform,
    UserError,
)
from ganbench.game import Config as GameConfig
from ganbench.layers import WeightNorm
from ganbench.losses import gan_discriminator


@dataclass(frozen=True)
class Config(GameConfig):
    latent: Count = 100
    "size of z"
    labels_per_class: Count = 10
    "number of training examples of each class whose labels are known"
    input_noise: NonNegative = 0.3
    "standard deviation of the normal noise on the classifier's inputs in training"
    hidden_noise: NonNegative = 0.5
    "standard deviation of the normal noise on the inputs of its other layers in training"


RELEASED = {
    "backbone": MLP(
        generator=(500, 500),
        critic=(1000, 500, 250, 250, 250),
        generator_activation="softplus",
        critic_activation="relu",
        generator_init=0.05,
        critic_init=0.1,
        init_law="normal",
        zero_one=True,
    )
}
# The released code adds 1e-8 under the root, which is 1e-4 beside it where gradients are small.
ADAM = Adam(1e-3, (0.5, 0.999), epsilon=1e-4)


class SemiSupervisedGAN(Game):
    """Classifier with K classes and an implied class "generated"; the generator matches its mean features.

    The networks are those of the released MNIST code (openai/improved-gan, feature matching). What differs: the
    learning rate is 0.001, a third of theirs, at which our generated images became alike in short runs of one
    seed; the generator's norms have gains, and its step shares the unlabelled batch of the classifier's. The
    released code evaluates averaged weights: give the budget an `ema`.
    """

    name = "semi-supervised-gan"
    supervision = "labelled"
    players: tuple[Player, ...] = (
        Player("classifier", nets=("D",), optimiser=ADAM),
        Player("generator", nets=("G",), optimiser=ADAM),
    )
    variants = {"semi-supervised-gan": RELEASED}
    published = {
        "semi-supervised-gan": (
            Published(
                "mnist",
                "classification-error",
                0.0093,
                0.00065,
                "Salimans et al. 2016, Table 1, 100 labels: 93 +- 6.5 errors of 10,000; +- is over 10 choices",
                note="300 epochs of batches of 100, all 60,000 training images as unlabelled ones",
            ),
        )
    }

    labelled_x: Tensor
    labelled_y: Tensor

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        backbone = config.backbone
        if not isinstance(backbone, MLP) or backbone.keep or not data.classes:
            raise ValueError("this game needs the mlp backbone without dropout, and data with classes")
        self.G = backbone.make_generator(config.latent, data.shape)
        self.D = backbone.make_critic(data.shape, outputs=data.classes)
        for block in self.D.blocks:
            for name, layer in block.named_children():
                if isinstance(layer, nn.Linear):
                    # Features whose gains were learned would outgrow the noise, whose size is fixed.
                    setattr(block, name, WeightNorm(layer, learned=block is self.D.blocks[-1]))
        head = self.G.layers[-1]
        assert isinstance(head, nn.Linear)
        self.G.layers[-1] = WeightNorm(head)
        self.widths = (data.mean.numel(), *backbone.critic)
        labelled = config.labels_per_class * data.classes
        self.register_buffer("labelled_x", torch.zeros(labelled, *data.shape))
        self.register_buffer("labelled_y", torch.zeros(labelled, dtype=torch.int64))

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Choose the examples whose labels are known, and start the classifier at unit moments of 500 images."""
        if labels is None:
            raise UserError(f"{self.name} needs the labels of the training set")
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(images), generator=generator).to(labels.device)
        chosen = []
        for k in range(self.data.classes):
            places = order[labels[order] == k][: self.config.labels_per_class]
            if len(places) < self.config.labels_per_class:
                raise UserError(
                    f"expected labels_per_class={self.config.labels_per_class} training images of class {k},"
                    f" got {len(places)}; ask for fewer"
                )
            chosen.append(places)
        places = torch.cat(chosen)
        self.labelled_x, self.labelled_y = images[places].to(self.labelled_x), labels[places].to(self.labelled_y)
        with torch.no_grad():
            first = images[order[:500]].to(self.labelled_x)
            self._start(first, torch.randn(len(first), sum(self.widths), generator=generator).to(first))

    def _start(self, x: Tensor, normal: Tensor) -> None:
        """Give all outputs of each layer of the classifier mean 0 and variance 1 on x with noise."""
        out = self._pixels(x)
        for block, level, part in zip(self.D.blocks, self._levels(), normal.split(self.widths, 1), strict=True):
            [layer] = (part for part in block.modules() if isinstance(part, WeightNorm))
            out = out + level * part
            moments = layer(out)
            mean, std = moments.mean(0), moments.std(0).clamp(min=1e-6)
            layer.gain.div_(std)
            layer.bias.sub_(mean).div_(std)
            out = block(out)

    def _levels(self) -> list[float]:
        return [self.config.input_noise] + [self.config.hidden_noise] * (len(self.widths) - 1)

    def _pixels(self, x: Tensor) -> Tensor:
        return ((x + 1) / 2 if self.D.zero_one else x).flatten(1)

    def _read(self, x: Tensor, normal: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the last hidden layer and the logits of images; `normal` (n, sum of widths) switches noise on."""
        levels = self._levels()
        parts = normal.split(self.widths, 1) if normal is not None else ()
        hidden = out = self._pixels(x)
        for index, block in enumerate(self.D.blocks):
            hidden = out
            out = block(out + levels[index] * parts[index] if parts else out)
        return hidden, out

    def noise(self) -> dict[str, Noise]:
        size = sum(self.widths)
        blurs = {name: Normal(size, training_only=True) for name in ("blur_labelled", "blur_real", "blur_fake")}
        order = Uniform(len(self.labelled_y), per_step=True)
        return {"z": Uniform(self.config.latent), "order": order, **blurs}

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.G(noise["z"])

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"fake": self.sample(batch)}

    def classify(self, x: Tensor) -> Tensor:
        """Return the logits of the classes, (n, classes)."""
        return self._read(x)[1]

    def _chosen(self, n: int, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return n of the examples whose labels are known, in random order, and these labels."""
        # The labels of x, in batch["y"], stay unread: those of the chosen examples are all that is known.
        order = batch["order"].argsort()
        places = order.repeat(-(-n // len(order)))[:n]
        return self.labelled_x[places], self.labelled_y[places]

    def classifier_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the labelled examples, and of real against generated images with logit log sum exp."""
        known, y = self._chosen(len(x), batch)
        images = torch.cat([known, x, batch["fake"]])
        normal = torch.cat([batch["blur_labelled"], batch["blur_real"], batch["blur_fake"]])
        labelled, real, fake = self._read(images, normal)[1].split(len(x))
        return cross_entropy(labelled, y) + gan_discriminator(real.logsumexp(1), fake.logsumexp(1))

    def generator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Squared distance of the batch means of the last hidden layer, per unit."""
        real, fake = self._read(x, batch["blur_real"])[0], self._read(batch["fake"], batch["blur_fake"])[0]
        return (real.mean(0) - fake.mean(0)).square().mean()


class SupervisedOnly(SemiSupervisedGAN):
    """The classifier of the semi-supervised GAN on its labelled examples alone: what the rest adds to it.

    It starts from the same weights and makes no images.
    """

    name = "supervised-only"
    players = (Player("classifier", nets=("D",), optimiser=ADAM),)
    variants = {"supervised-only": RELEASED}
    published = {}
    sample = None  # type: ignore[assignment]  # so what is measured on samples says that it cannot be

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        del self.G

    def noise(self) -> dict[str, Noise]:
        laws = super().noise()
        return {name: laws[name] for name in ("order", "blur_labelled")}

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {}

    def classifier_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the labelled examples."""
        known, y = self._chosen(len(x), batch)
        return cross_entropy(self._read(known, batch["blur_labelled"])[1], y)
