"""What the metrics may ask about a finished run: items, features, what the game says; see `MetricInputs`."""

from __future__ import annotations

import inspect
from typing import Any, Literal, cast

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

CHUNK = 1000  # items drawn from one seed stream, so that the first n never depend on how many are drawn


class RunInputs:
    """What the protocols may ask about one run; see `ganbench.metrics.MetricInputs`."""

    def __init__(self, game: Game, spec: RunSpec, real: RealData) -> None:
        self.game, self.spec, self.real_data = game, spec, real
        self.samples = spec.samples
        self._chunks: list[Tensor] = []
        self._features: dict[str, Features] = {}
        self._answers: dict[tuple[str, str, str], Any] = {}

    # ------------------------------------------------------------ the data

    def real(self, split: Split, n: int | None = None) -> Tensor:
        return self.real_data.images(split, n)

    def labels(self, split: Split) -> Tensor:
        labels = self.real_data.data.labels
        if split not in labels:
            raise UserError(f"{self.real_data.data.name} has no labels")
        return labels[split][:SEQUENCES] if self.real_data.data.sequences else labels[split]

    @property
    def distribution(self) -> KnownDistribution:
        if self.real_data.data.distribution is None:
            raise UserError(f"nobody knows the law of {self.real_data.data.name}")
        return self.real_data.data.distribution

    @property
    def view(self) -> Moving | None:
        return self.real_data.data.view

    # ------------------------------------------------------------ the game

    def fake(self, n: int | None = None) -> Tensor:
        n = self.samples if n is None else n
        while len(self._chunks) * CHUNK < n:
            self._chunks.append(self._chunk("sample", len(self._chunks), CHUNK, (), self.game.data.frames))
        return torch.cat(self._chunks)[:n]

    def make(self, ability: str, n: int, *arguments: object, frames: int = 0) -> Tensor:
        parts = []
        for chunk, start in enumerate(range(0, n, CHUNK)):
            rows = slice(start, min(n, start + CHUNK))
            mine = tuple(a[rows] if isinstance(a, Tensor) else a for a in arguments)
            size = rows.stop - rows.start
            parts.append(self._chunk(ability, chunk, size, mine, frames or self.game.data.frames))
        return torch.cat(parts)

    def call(self, ability: str, source: Split | Literal["fake"] | Tensor, noise: str = "") -> Any:
        if isinstance(source, Tensor):
            return self._call(ability, source, None, noise)
        key = ability, source, noise
        if key not in self._answers:
            x = self.from_pixels(self.fake() if source == "fake" else self.real(source))
            self._answers[key] = self._call(ability, x, None if source == "fake" else source, noise)
        return self._answers[key]

    def to_pixels(self, x: Tensor) -> Tensor:
        if not x.isfinite().all():
            raise UserError(f"{self.spec.model} generates NaN or infinite pixels")
        return (((x + 1) / 2).clamp(0, 1) if self.game.data.bounded else x).to(torch.float32)

    def from_pixels(self, images: Tensor) -> Tensor:
        return images * 2 - 1 if self.game.data.bounded else images

    def _chunk(self, ability: str, chunk: int, n: int, arguments: tuple[object, ...], frames: int) -> Tensor:
        """Return the first n items that an ability makes of one chunk of noise, in [0, 1]."""
        noise, size, made = self._noise(ability, chunk), _at_once(frames), []
        with torch.no_grad():
            for i in range(0, n, size):
                rows = slice(i, min(n, i + size))
                part = {name: values[rows] for name, values in noise.items()}
                given = (a[rows].to(self._device) if isinstance(a, Tensor) else a for a in arguments)
                items = getattr(self.game, ability)(part, *given)
                if len(items) != (asked := min(size, n - i)):
                    raise UserError(f"{ability} gives {len(items)} items for the noise of {asked}")
                made.append(self.to_pixels(items))
        return torch.cat(made)

    def _call(self, ability: str, x: Tensor, split: Split | None, noise: str) -> Any:
        """Return what an ability says of items in the game's scale, those of a split if it is not None."""
        method, size = getattr(self.game, ability), _at_once(self.game.data.frames)
        supervision, found = self.game.supervision, []
        asks = supervision == "conditional" and "y" in inspect.signature(method).parameters
        known = split is not None and (asks or (noise and supervision != "unlabelled"))
        labels = self.labels(cast(Split, split)).split(size) if known else ()
        with torch.no_grad():
            for chunk, part in enumerate(x.split(size)):
                y = labels[chunk : chunk + 1]
                if noise:
                    drawn = self._noise(noise, chunk, training=True).items()
                    batch = {name: rows[: len(part)] for name, rows in drawn}
                    found.append(method(part, batch | ({"y": y[0]} if y else {})))
                else:
                    found.append(method(part, *y))
        if isinstance(found[0], Tensor):
            return torch.cat(found)
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    @property
    def _device(self) -> torch.device:
        return self.real_data.data.images["train"].device

    def _noise(self, purpose: str, chunk: int, training: bool = False) -> dict[str, Tensor]:
        """Return a chunk of noise from its own seed stream."""
        stream = seed_stream(self.real_data.data.name, self.spec.model, self.spec.seed, purpose, chunk)
        generator = torch.Generator(self._device).manual_seed(stream)
        return {
            name: law.fill(torch.empty(CHUNK, *law.shape, device=self._device), generator)
            for name, law in self.game.noise().items()
            if training or not law.training_only
        }

    # ------------------------------------------------------------ the extractors

    def features(self, source: Split | Literal["fake"], extractor: str, n: int | None = None) -> Features:
        if source != "fake":
            features, logits = self.real_data.features(source, extractor)
        else:
            n = self.samples if n is None else n
            if extractor not in self._features or len(self._features[extractor].features) < n:
                self._features[extractor] = self.extract(self.fake(max(n, self.samples)), extractor)
            features, logits = self._features[extractor]
        return Features(features[:n], None if logits is None else logits[:n])

    def extract(self, images: Tensor, extractor: str) -> Features:
        return self.real_data.extract(images, extractor)

    def extractor_id(self, extractor: str) -> str:
        sha256 = registry.extractors.get(extractor).sha256
        return f"{extractor}@sha256:{sha256[:12]}" if sha256 else extractor


def _at_once(frames: int) -> int:
    """Return how many items go through a game at once: of sequences fewer, for their frames fill the memory."""
    return max(1, CHUNK // max(1, frames))
