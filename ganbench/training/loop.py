"""From run specifications to run folders: one loop for every game, all seeds at once or one after another."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.game.contract import Game
from ganbench.precision import float32_arithmetic
from ganbench.records import write_whole
from ganbench.runs.code import code_of
from ganbench.runs.folder import Status, build, snapshot_rounds, write_run, write_snapshot
from ganbench.suites.spec import RunSpec
from ganbench.training import checkpoints
from ganbench.training.fit import finished, fitted, state
from ganbench.training.stack import Stack

LOGGED = 200  # lines of log.csv per run, at most
Progress = Callable[[int, float], None]


def stacks(game: Game, device: torch.device) -> bool:
    """Tell whether seeds are stepped in one call: on CPU only small dense networks gain from it."""
    if device.type != "cpu":
        return True
    size = sum(parameter.numel() for parameter in game.parameters())
    return game.config.backbone.kind == "mlp" and size < 500_000


def train(
    specs: Sequence[RunSpec],
    data: Dataset,
    out: Path,
    progress: Progress = lambda done, speed: None,
    checkpoint_seconds: float = 15.0,
    stop_after: int | None = None,
    engine: str = "eager",
) -> None:
    """Train the seeds of one model and write their run folders; a broken-off training goes on where it stopped.

    Args:
        specs: runs that differ in their seed only, none of them finished.
        data: their dataset, on the training device.
        out: folder of all runs.
        progress: called with (rounds just played, images/s) about ten times a second.
        checkpoint_seconds: time between two checkpoints.
        stop_after: leave after so many rounds with a checkpoint, as an interrupted run would.
        engine: form of the step, see `ganbench.training.engines`; an interrupted training may go on with another.

    Raises:
        UserError: batch larger than the training set, damaged checkpoint, unwritable folder.
    """
    if specs[0].batch > len(data.images["train"]):
        raise UserError(f"batch {specs[0].batch} is larger than the {len(data.images['train'])} training images")
    first = build(specs[0], data)
    if not first.players:
        for spec in specs:
            _fit(spec, data, out)
            progress(spec.rounds, 0.0)
        return
    groups = [list(specs)] if stacks(first, data.images["train"].device) else [[spec] for spec in specs]
    together = len(groups) == 1 and data.images["train"].device.type == "cpu"
    # Compiled kernels are few and large enough to share out; the many small ones of an eager stack are not.
    threads = 1 if together and engine == "eager" else torch.get_num_threads()
    with _threads(threads), float32_arithmetic(specs[0].precision == "tf32"):
        for group in groups:
            for part in checkpoints.regroup(group, data, out):
                _train_group(part, data, out, progress, checkpoint_seconds, stop_after, engine)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Meter:
    """Time and images of a group of seeds over all its sessions, and the news for the progress display."""

    def __init__(self, stack: Stack, progress: Progress, seconds_before: float) -> None:
        self.stack, self.progress, self.before = stack, progress, seconds_before
        self.began = self.told = self.saved = time.monotonic()
        self.told_round, self.told_position = stack.round, stack.position

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self.began

    @property
    def images_per_second(self) -> float:
        """Images of all players' minibatches and all seeds together, per second."""
        return self._images(0) / max(self.seconds, 1e-9)

    def _images(self, since: int) -> int:
        return (self.stack.position - since) * self.stack.batch * len(self.stack.seeds)

    def tell(self, pause: float = 0.1) -> None:
        """Report the rounds played since the last report, if that is long enough ago."""
        passed = time.monotonic() - self.told
        if passed < pause:
            return
        rounds = (self.stack.round - self.told_round) * len(self.stack.seeds)
        self.progress(rounds, self._images(self.told_position) / max(passed, 1e-9))
        self.told += passed
        self.told_round, self.told_position = self.stack.round, self.stack.position

    def due(self, pause: float) -> bool:
        """Tell whether the last checkpoint is so many seconds ago; the count then starts again."""
        if time.monotonic() - self.saved <= pause:
            return False
        self.saved = time.monotonic()
        return True


def _train_group(
    specs: list[RunSpec],
    data: Dataset,
    out: Path,
    progress: Progress,
    checkpoint_seconds: float,
    stop_after: int | None,
    engine: str,
) -> None:
    """Play all rounds of seeds that are stepped together, and write their run folders."""
    if data.images["train"].device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    spec, path = specs[0], checkpoints.place(specs, data, out)
    games = [fitted(each, data) for each in specs]
    stack = Stack(
        games,
        [each.seed for each in specs],
        data,
        spec.model,
        spec.batch,
        spec.rounds,
        spec.ema,
        bf16=spec.precision == "bf16",
        engine=engine,
    )
    log, seconds = checkpoints.resume(stack, path)
    write_whole(path.with_suffix(".json"), json.dumps([each.hash for each in specs]))
    meter = _Meter(stack, progress, seconds)
    kept = set(snapshot_rounds(spec))
    if stack.round in kept:
        _keep(stack, specs, out)
    every = max(1, spec.rounds // LOGGED)
    end = spec.rounds if stop_after is None else min(spec.rounds, stop_after)
    while stack.round < end:
        losses = stack.train_round()
        if stack.round in kept:
            _keep(stack, specs, out)
        if stack.round % every == 0 or stack.round == spec.rounds:
            log.append((stack.round, {name: loss.tolist() for name, loss in losses.items()}))
            if bool((stack.state.first_nonfinite > 0).all()):
                break
        meter.tell()
        if meter.due(checkpoint_seconds):
            checkpoints.save(stack, log, meter.seconds, path)
    else:
        if stack.round < spec.rounds:
            checkpoints.save(stack, log, meter.seconds, path)
            return
    stack.check_parameters()
    meter.tell(pause=0.0)
    statuses = [_status(stack, index, meter, each, data) for index, each in enumerate(specs)]
    for index, (each, status, weights) in enumerate(zip(specs, statuses, stack.weights(), strict=True)):
        if status.state == "finished":
            weights = finished(each, data, weights)
        write_run(each, out, weights, _log_text(log, index), status)
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)


def _keep(stack: Stack, specs: Sequence[RunSpec], out: Path) -> None:
    """Write a snapshot of every seed."""
    for spec, weights in zip(specs, stack.weights(), strict=True):
        write_snapshot(spec.folder(out), stack.round, weights)


def _status(stack: Stack, index: int, meter: _Meter, spec: RunSpec, data: Dataset) -> Status:
    """Return what became of one seed; its seconds are its share of the group's."""
    bad = int(stack.state.first_nonfinite[index])
    return Status(
        state="diverged" if bad > 0 else "finished",
        round=bad if bad > 0 else stack.round,
        reason=f"NaN or infinite loss or weights at round {bad}" if bad > 0 else "",
        seconds=meter.seconds / len(stack.seeds),
        images_per_second=meter.images_per_second,
        device=device_name(stack.device),
        engine="+".join(stack.engines),
        gpu_bytes=torch.cuda.max_memory_allocated(stack.device) if stack.device.type == "cuda" else 0,
        code=code_of(spec),
        plugin=registry.plugin_of(spec.model),
        data=data.sha256[:12],
    )


@float32_arithmetic()
def _fit(spec: RunSpec, data: Dataset, out: Path) -> None:
    """Fit a reference and write its run folder."""
    began = time.monotonic()
    game = fitted(spec, data)
    status = Status(
        state="finished",
        round=0,
        seconds=time.monotonic() - began,
        device=device_name(data.images["train"].device),
        code=code_of(spec),
        plugin=registry.plugin_of(spec.model),
        data=data.sha256[:12],
    )
    write_run(spec, out, state(game), "round\n", status)


def _log_text(log: list[Any], index: int) -> str:
    """Return log.csv of one seed: round, then each player's loss at full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    players = list(log[0][1]) if log else []
    writer.writerow(["round", *(f"{player}_loss" for player in players)])
    for round_, losses in log:
        writer.writerow([round_, *(repr(losses[player][index]) for player in players)])
    return text.getvalue()


def device_name(device: torch.device) -> str:
    """Return "cpu" or the name of the accelerator."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
