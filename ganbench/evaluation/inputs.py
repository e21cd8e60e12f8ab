"""What the metrics may ask about a finished run: real and generated items, features, the truth if it is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor

from ganbench import registry
from ganbench.datasets import SEQUENCES
from ganbench.distributions.known import KnownDistribution
from ganbench.distributions.moving import Moving
from ganbench.errors import UserError
from ganbench.evaluation.real import RealData
from ganbench.game.contract import Game
from ganbench.metrics import Features, Split
from ganbench.records import seed_stream
from ganbench.suites.spec import RunSpec

CHUNK = 1000  # images drawn from one seed stream, so that the first n never depend on how many are drawn


class RunInputs:
    """What the protocols may ask about one run; see `ganbench.metrics.MetricInputs`."""

    def __init__(self, game: Game, spec: RunSpec, real: RealData) -> None:
        self.game, self.spec, self.real_data = game, spec, real
        self.samples = spec.samples
        self._chunks: list[Tensor] = []
        self._features: dict[str, Features] = {}
        self._channel_logits: dict[str, Tensor] = {}
        self._answers: dict[tuple[str, Split], Tensor] = {}

    def real(self, split: Split, n: int | None = None) -> Tensor:
        return self.real_data.images(split, n)

    def fake(self, n: int | None = None) -> Tensor:
        n = self.samples if n is None else n
        while len(self._chunks) * CHUNK < n:
            self._chunks.append(self._draw(len(self._chunks)))
        return torch.cat(self._chunks)[:n]

    def _draw(self, chunk: int) -> Tensor:
        """Return one chunk of generated images in [0, 1] from its own seed stream."""
        with torch.no_grad():
            noise = self._parts(self._noise("sample", chunk), CHUNK, self._at_once)
            return torch.cat([self._to_pixels(self.game.sample(part)) for part in noise])

    @property
    def _at_once(self) -> int:
        """Items that go through the game at once: of sequences fewer, for their frames fill the memory."""
        return max(1, CHUNK // max(1, self.game.data.frames))

    @staticmethod
    def _parts(noise: dict[str, Tensor], n: int, size: int) -> list[dict[str, Tensor]]:
        """Return the first n rows of noise in parts of some size."""
        return [{name: rows[i : min(n, i + size)] for name, rows in noise.items()} for i in range(0, n, size)]

    def _noise(self, purpose: str, chunk: int, training: bool = False) -> dict[str, Tensor]:
        data = self.real_data.data
        device = data.images["train"].device
        stream = seed_stream(data.name, self.spec.model, self.spec.seed, purpose, chunk)
        generator = torch.Generator(device).manual_seed(stream)
        return {
            name: law.fill(torch.empty(CHUNK, *law.shape, device=device), generator)
            for name, law in self.game.noise().items()
            if training or not law.training_only
        }

    def _to_pixels(self, images: Tensor) -> Tensor:
        if not images.isfinite().all():
            raise UserError("the model generates NaN or infinite pixels")
        images = ((images + 1) / 2).clamp(0, 1) if self.game.data.bounded else images
        return images.to(torch.float32)

    def features(self, source: Split | Literal["fake"], extractor: str, n: int | None = None) -> Features:
        if source != "fake":
            features, logits = self.real_data.features(source, extractor)
        else:
            n = self.samples if n is None else n
            if extractor not in self._features or len(self._features[extractor].features) < n:
                self._features[extractor] = self.real_data.extract(self.fake(max(n, self.samples)), extractor)
            features, logits = self._features[extractor]
        return Features(features[:n], None if logits is None else logits[:n])

    def channel_logits(self, extractor: str, n: int) -> Tensor:
        known = self._channel_logits.get(extractor)
        done = 0 if known is None else len(known)
        if known is None or done < n:
            images = self.fake(n)[done:]
            logits = self.real_data.extract(images.flatten(0, 1)[:, None], extractor).logits
            if logits is None:
                raise UserError(f"extractor {extractor} has no logits; take a classifier, e.g. lenet-mnist-v1")
            logits = logits.unflatten(0, (len(images), -1))
            known = self._channel_logits[extractor] = logits if known is None else torch.cat([known, logits])
        return known[:n]

    def extractor_id(self, extractor: str) -> str:
        sha256 = registry.extractors.get(extractor).sha256
        return f"{extractor}@sha256:{sha256[:12]}" if sha256 else extractor

    def reconstructions(self, split: Split) -> Tensor:
        reconstruct = cast(Callable[..., Tensor], self.game.reconstruct)
        asks = self.game.supervision == "conditional" and len(inspect.signature(reconstruct).parameters) > 1
        inputs = [self._inputs(split), *([self.labels(split).split(self._at_once)] if asks else [])]
        with torch.no_grad():
            return torch.cat([self._to_pixels(reconstruct(*part)) for part in zip(*inputs, strict=True)])

    def predictions(self, split: Split) -> Tensor:
        predict = cast(Callable[[Tensor], Tensor], self.game.predict)
        with torch.no_grad():
            return torch.cat([self._to_pixels(predict(part)) for part in self._inputs(split)])

    def extrapolations(self, n: int, frames: int) -> Tensor:
        extrapolate = cast(Callable[[dict[str, Tensor], int], Tensor], self.game.extrapolate)
        if n > CHUNK:
            raise UserError(f"expected at most {CHUNK} sequences, got {n}")
        noise = self._parts(self._noise("extrapolate", 0), n, max(1, CHUNK // frames))
        with torch.no_grad():
            return torch.cat([self._to_pixels(extrapolate(part, frames)) for part in noise])

    @property
    def view(self) -> Moving | None:
        return self.real_data.data.view

    def extracted(self, images: Tensor, extractor: str) -> Features:
        return self.real_data.extract(images, extractor)

    def _inputs(self, source: Split | Literal["fake"]) -> tuple[Tensor, ...]:
        """Return a split, or generated images, as the game takes them, in parts."""
        images = self.fake() if source == "fake" else self.real(source)
        return (images * 2 - 1 if self.game.data.bounded else images).split(self._at_once)

    def _answer(self, ability: str, split: Split) -> Tensor:
        """Return what one of the game's abilities says of a split, float64."""
        if (ability, split) not in self._answers:
            method = cast(Callable[[Tensor], Tensor], getattr(self.game, ability))
            with torch.no_grad():
                self._answers[ability, split] = torch.cat([method(part).double() for part in self._inputs(split)])
        return self._answers[ability, split]

    @property
    def distribution(self) -> KnownDistribution:
        if self.real_data.data.distribution is None:
            raise UserError(f"nobody knows the law of {self.real_data.data.name}")
        return self.real_data.data.distribution

    def labels(self, split: Split) -> Tensor:
        labels = self.real_data.data.labels
        if split not in labels:
            raise UserError(f"{self.real_data.data.name} has no labels")
        return labels[split][:SEQUENCES] if self.real_data.data.sequences else labels[split]

    def class_logits(self, split: Split) -> Tensor:
        return self._answer("classify", split)

    def cluster_logits(self, split: Split) -> Tensor:
        return self._answer("cluster", split)

    def codes(self, split: Split) -> Tensor:
        return self._answer("encode", split)

    def cycle(self) -> tuple[Tensor, Tensor]:
        if not callable(getattr(self.game, "encode", None)):
            raise UserError("the game has no encode")
        encode = cast(Callable[[Tensor], Tensor], self.game.encode)
        decode = cast(Callable[[Tensor], Tensor], self.game.decode)
        with torch.no_grad():
            codes = [encode(part) for part in self._inputs("fake")]
            again = [encode(decode(part)) for part in codes]
        return torch.cat(codes).double(), torch.cat(again).double()

    @property
    def critic_noise(self) -> float:
        return float(getattr(self.game.config, "critic_noise", 0.0))

    def verdicts(self, split: Split) -> dict[str, Tensor]:
        discriminate = cast(Callable[..., dict[str, Tensor]], self.game.discriminate)
        found = []
        with torch.no_grad():
            for chunk, part in enumerate(self._inputs(split)):
                noise = {name: rows[: len(part)] for name, rows in self._noise("judge", chunk, True).items()}
                if self.game.supervision != "unlabelled":
                    noise["y"] = self.labels(split)[chunk * self._at_once :][: len(part)]
                found.append(discriminate(part, noise))
        return {critic: torch.cat([part[critic] for part in found]) for critic in found[0]}

    def conditioned(self, extractor: str) -> tuple[Features, Tensor]:
        data = self.real_data.data
        if self.game.supervision == "unlabelled":
            raise UserError("the classes of a game that sees no labels are clusters, which no label names")
        condition = cast(Callable[[dict[str, Tensor], Tensor], Tensor], self.game.condition)
        n = self.samples - self.samples % data.classes
        if not n:
            raise UserError(f"expected at least {data.classes} samples, one of each class, got {self.samples}")
        y = torch.arange(-(-n // CHUNK) * CHUNK, device=data.images["train"].device) % data.classes
        with torch.no_grad():
            parts = [
                self._to_pixels(condition(self._noise("condition", chunk), classes))
                for chunk, classes in enumerate(y.split(CHUNK))
            ]
        return self.real_data.extract(torch.cat(parts)[:n], extractor), y[:n]

    def push_forward(self, cells: int) -> tuple[Tensor, Tensor]:
        laws = {name: law for name, law in self.game.noise().items() if not law.training_only}
        if self.game.data.shape != (1,) or [law.shape for law in laws.values()] != [(1,)]:
            raise UserError("the density needs a generator from one number to one; try --set MODEL.latent=1")
        [(name, law)] = laws.items()
        edges, masses = law.cells(cells)
        game = self.game.double()
        try:
            with torch.no_grad():
                parts = [game.sample({name: part[:, None]}) for part in edges.split(100 * CHUNK)]
        finally:
            game.float()
        if not all(part.isfinite().all() for part in parts):
            raise UserError("the model generates NaN or infinite numbers")
        return torch.cat(parts)[:, 0], masses
