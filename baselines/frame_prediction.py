"""Next-frame prediction: squared error beside an adversary. Lotter, Kreiman and Cox 2015, arXiv:1511.06380."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganbench.game import Adam, DataSpec, Game, Noise, NonNegative, Player, Uniform, UserError
from ganbench.game import Config as GameConfig
from ganbench.losses import gan_discriminator, gan_generator_nonsaturating

STARTS = 100
"training sequences whose first two frames are kept, to go on from"


@dataclass(frozen=True)
class Config(GameConfig):
    fidelity: NonNegative = 1.0
    "weight of the squared error, summed over the pixels of a frame"


class FramePrediction(Game):
    """Next frame from the two before it by squared error, which blurs where the future is open.

    Before the second frame there is one only, taken twice. Samples are no independent draws: the first two frames
    are those of a training sequence, and the predictor goes on from them.
    """

    name = "frame-prediction-mse"
    players: tuple[Player, ...] = (Player("predictor", nets=("P",), optimiser=Adam(1e-3, (0.9, 0.999))),)
    variants = {"frame-prediction-mse": {}}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if data.frames < 3:
            raise ValueError(f"frame prediction needs sequences of at least 3 frames, got shape {data.shape}")
        self.frame = data.shape[1:]
        self.P = config.backbone.make_generator(2 * data.mean[0].numel(), self.frame)
        self.register_buffer("starts", torch.zeros(0, 2, *self.frame))

    def noise(self) -> dict[str, Noise]:
        return {"place": Uniform(1)}

    def fit(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
        self.starts = images[:STARTS, :2].clone()

    def _past(self, x: Tensor) -> Tensor:
        """Return the two frames before each frame of x but the first, (n * (frames - 1), 2 * channels, h, w)."""
        before = torch.cat([x[:, :1], x[:, :-2]], dim=1)
        return torch.cat([before, x[:, :-1]], dim=2).flatten(0, 1)

    def _next(self, past: Tensor) -> Tensor:
        """Return the frames that follow, (n, channels, h, w)."""
        return self.P(past.flatten(1))

    def predict(self, x: Tensor) -> Tensor:
        """Return all frames of x (n, frames, c, h, w) but the first, each predicted from those before it."""
        return self._next(self._past(x)).unflatten(0, (len(x), -1))

    def extrapolate(self, noise: Mapping[str, Tensor], frames: int) -> Tensor:
        """Return sequences of a given length, (n, frames, c, h, w), from the start of a training sequence on."""
        index = (noise["place"][:, 0].double() * len(self.starts)).long().clamp(max=len(self.starts) - 1)
        made = list(self.starts[index].to(noise["place"].dtype).unbind(1))
        while len(made) < frames:
            made.append(self._next(torch.cat(made[-2:], dim=1)))
        return torch.stack(made[:frames], dim=1)

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.extrapolate(noise, self.data.frames)

    def _squared_error(self, x: Tensor, made: Tensor) -> Tensor:
        """Return the squared error of predicted frames, summed over pixels in [-1, 1], averaged over frames."""
        return (made - x[:, 1:].flatten(0, 1)).square().flatten(1).sum(1).mean()

    def predictor_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return self.config.fidelity * self._squared_error(x, self._next(self._past(x)))


class AdversarialFramePrediction(FramePrediction):
    """Next frame from the two before it, by squared error and by a critic that sees all three as channels."""

    name = "frame-prediction-gan"
    players = (
        Player("discriminator", nets=("D",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("predictor", nets=("P",), optimiser=Adam(2e-4, (0.5, 0.999))),
    )
    variants = {"frame-prediction-gan": {"fidelity": 0.02}}

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        channels, *sides = self.frame
        self.D = config.backbone.make_critic((3 * channels, *sides))
        if self.D.mask_size:
            raise ValueError("the adversary of frame prediction needs a backbone without dropout")

    def match_features(self, player: Player, x: Tensor, fake: Tensor) -> Tensor:
        raise UserError(
            "feature_matching needs a critic of what is generated alone; this one sees past frames, too"
        )

    def discriminator_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        past = self._past(x)
        real = torch.cat([past, x[:, 1:].flatten(0, 1)], dim=1)
        return gan_discriminator(self.D(real), self.D(torch.cat([past, self._next(past)], dim=1)))

    def predictor_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        past = self._past(x)
        made = self._next(past)
        judged = gan_generator_nonsaturating(self.D(torch.cat([past, made], dim=1)))
        return self.config.fidelity * self._squared_error(x, made) + judged
