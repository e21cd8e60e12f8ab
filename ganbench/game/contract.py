"""The contract of a model: a game is networks, players with one loss each, declared noise, and abilities."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.distributions.noise import Noise
from ganbench.errors import UserError
from ganbench.game.model import Model
from ganbench.game.players import Player
from ganbench.layers.blocks import Network
from ganbench.layers.networks import MLP, Backbone, NonNegativeInt
from ganbench.records import Fraction, NonNegative, Probability, Record


@dataclass(frozen=True)
class DataSpec:
    """What a game is told about its data.

    Args:
        name: dataset name.
        shape: (channels, height, width) of an image, (frames, channels, height, width) of a sequence, (d,) of a
            vector.
        classes: number of classes, 0 if unlabelled.
        mean: mean of the training images or sequences with pixels in [0, 1], or of the vectors; same shape.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    mean: Tensor

    @property
    def bounded(self) -> bool:
        """Whether x lies in [-1, 1], as images do and vectors do not."""
        return len(self.shape) > 1

    @property
    def frames(self) -> int:
        """Number of frames of a sequence, 0 for images and vectors."""
        return self.shape[0] if len(self.shape) == 4 else 0


@dataclass(frozen=True)
class Config(Record):
    """Settings that every game has."""

    backbone: Backbone = MLP()
    "networks, given by the suite unless the model pins its own"
    simultaneous: bool = False
    "take all players' gradients at the same point and on the same batch, then step all"
    instance_noise: NonNegative = 0.0
    "standard deviation of the normal noise on real and on shared fake images at the start; it falls linearly to 0"
    batch: NonNegativeInt = 0
    "examples per step in place of the budget's; 0 is the budget's"

    ema: Fraction = 0.0
    "decay of averaged weights, which are then evaluated, in place of the budget's; 0 is the budget's"

    def examples(self, batch: int) -> int:
        """Return how many examples a step sees under a budget of so many."""
        return self.batch or batch

    def decay(self, ema: float) -> float:
        """Return the decay of the averaged weights under a budget of that decay."""
        return self.ema or ema


@dataclass(frozen=True)
class LogisticConfig(Config):
    """Settings of a game whose discriminator tells real from fake by logistic regression."""

    real_target: Probability = 1.0
    "probability of 'real' that D aims at on real data; below 1 is one-sided label smoothing"
    fake_target: Fraction = 0.0
    "probability of 'real' that D aims at on generated data"


@dataclass(frozen=True)
class Published:
    """A number from the literature, to stand beside ours.

    Args:
        dataset: as named here.
        metric: as named here, including the extractor.
        value: as printed.
        error: the printed +-, NaN if none.
        source: paper, table, and what the +- means.
        comparable: whether protocol and scale are those of our metric.
        note: what differs.
        protocol: text that the protocol of our number has, e.g. "K=30"; other numbers are none to compare with.
        training: suite and budget that train this variant on the paper's networks at least as long as the paper,
            e.g. "mnist/paper"; "" if none does. A verdict is given there only.
    """

    dataset: str
    metric: str
    value: float
    error: float
    source: str
    comparable: bool = True
    note: str = ""
    protocol: str = ""
    training: str = ""


ROLES = ("model", "reference", "copy")  # a copy is a reference that keeps training data, or nearly so


class Game(nn.Module):
    """Base of every model. A subclass with a `name` is registered and checked when its class is made.

    Class attributes:
        name: as typed by users.
        players: who trains what; () for a reference that is fitted instead.
        variants: name -> settings that differ from the defaults, by dotted path; default {name: {}}.
        published: variant name -> numbers from the literature.
        role: one of ROLES; what is no model is shown apart from the ranking.
        supervision: "unlabelled", "labelled" (trained with labels) or "conditional"; they share no table.
        surrogates: players whose loss has another gradient than its value's, by tensors detached on purpose, as
            in REINFORCE.

    Methods a subclass gives: `<player>_loss(x, batch)` for each player, with x (n, *shape), images in [-1, 1],
    returning a scalar; `noise()`; `sample(noise)`; further abilities. The batch holds the noise and, under
    supervision with labels, those of x as "y", int64 (n,). A game uses no random numbers of its own. State that
    lasts from step to step is a buffer, which a loss changes in place under no_grad; if its value is also part of
    the loss, of a clone of it. Players may share networks; each has its own optimiser state. `ganbench check`
    tests all this.
    """

    name: ClassVar[str]
    players: tuple[Player, ...] = ()
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    published: ClassVar[Mapping[str, tuple[Published, ...]]] = {}
    role: ClassVar[str] = "model"
    supervision: ClassVar[str] = "unlabelled"
    surrogates: tuple[str, ...] = ()

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__()
        self.data, self.config = data, config

    def noise(self) -> dict[str, Noise]:
        """Return the law of each random input that the losses and abilities name."""
        raise NotImplementedError

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        """Return generated images in [-1, 1], or vectors, (n, *shape)."""
        raise NotImplementedError

    def precompute(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return by name what several losses need of one draw: it is made once and joins their `batch`.

        It is made before anyone moves, so it may go through networks only that the last player to move on this
        draw trains and nobody before it; the others get it without its graph. Generated images that critics see
        are called "fake": instance noise is added to them, and features are matched on them.
        """
        return {}

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        """Return the squared distance of the mean features of x and fakes in the critics of all other players."""
        others = [net for name, net in self.named_children() if name not in player.nets]
        critics = [net for net in others if isinstance(net, Network)]
        if not critics:
            raise UserError(f"feature_matching of {player.name} needs a critic that another player trains")
        gaps = [critic.features(x).mean(0) - critic.features(fake).mean(0) for critic in critics]
        return torch.stack([gap.square().mean() for gap in gaps]).sum()

    def forward(self, method: str, *arguments: Any) -> Any:
        """Return what a method gives: the one door through which the trainer calls a game."""
        return getattr(self, method)(*arguments)

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Take from the training set what then stays fixed: all of a reference, which has no players, or buffers.

        It is called once, before the first round.

        Args:
            images: the training set, (n, *shape), images in [-1, 1].
            labels: int64 (n,) of labelled and conditional games, else None.
            seed: of all choices that are random.
        """

    def finalize(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        """Take from the training set what needs the trained networks, such as a mixture of codes, into buffers.

        It is called once, after the last round of a game with players, in eval mode, with the weights that are
        evaluated, averaged ones if there are any; not on a run that diverged. Buffers are saved with the run.

        Args:
            images, labels: as for `fit`.
            seed: of all choices that are random.
        """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            return
        if cls.role not in ROLES:
            raise UserError(f"game '{cls.name}': unknown role '{cls.role}'; give one of {', '.join(ROLES)}")
        for player in cls.players:
            if not callable(getattr(cls, f"{player.name}_loss", None)):
                raise UserError(f"game '{cls.name}': player '{player.name}' has no method {player.name}_loss")
        if not cls.players and cls.fit is Game.fit:
            raise UserError(f"game '{cls.name}' has neither players nor a method fit; give it one of them")
        for method in ("noise", "sample"):
            if getattr(cls, method) is getattr(Game, method):
                raise UserError(f"game '{cls.name}' has no method {method}")
        config = inspect.signature(cls.__init__).parameters.get("config")
        if config is None or not isinstance(config.default, Config):
            raise UserError(f"game '{cls.name}': __init__ needs a parameter 'config' whose default is a Config")
        for variant, settings in (cls.variants or {cls.name: {}}).items():
            registry.models.add(variant, Model(variant, cls, dict(settings)))
