"""Where the work of a suite runs: in this process, or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.measure import Reference, measure, wanted
from ganbench.registry import UserError
from ganbench.runs import Status, pending
from ganbench.suite import RunSpec
from ganbench.train import train

Tell = Callable[[str, str, int, float], None]
"""Called with (model, "train", rounds just played, images/s) or (model, "trained" or "measured", runs, 0)."""


@dataclass(frozen=True)
class Work:
    """All seeds of one model: what a process is handed.

    Args:
        specs: runs that differ in their seed only.
        metrics: names to measure.
        out: folder of all runs.
        device: torch device name.
        data_root: folder of the datasets, None for the default.
        download: whether absent datasets may be fetched.
        plugins: files to load first.
        again: measure even what has rows already.
        engine: form of the training step.
    """

    specs: tuple[RunSpec, ...]
    metrics: tuple[str, ...]
    out: Path
    device: str
    data_root: str | None = None
    download: bool = True
    plugins: tuple[str, ...] = ()
    again: bool = False
    engine: str = "eager"

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.specs[0].model

    def untrained(self) -> list[RunSpec]:
        """Return the runs still to train."""
        name = self.specs[0].dataset
        # Only a user's own files can change under the same name; the others are held to their checksums.
        data = _load(name, self.data_root, self.download).sha256[:12] if ":" in name else ""
        return pending(self.specs, self.out, data)

    def unmeasured(self) -> list[tuple[RunSpec, list[str]]]:
        """Return the runs that need metrics, with their names."""
        untrained = self.untrained()
        names = [(s, list(self.metrics) if s in untrained else self._wanted(s)) for s in self.specs]
        return [(spec, metrics) for spec, metrics in names if metrics]

    def _wanted(self, spec: RunSpec) -> list[str]:
        return list(self.metrics) if self.again else wanted(spec.folder(self.out), self.metrics)


@dataclass
class Outcome:
    """What became of one model."""

    model: str
    trained: int = 0
    measured: int = 0
    diverged: list[str] = field(default_factory=list)


@lru_cache(maxsize=2)
def _load(name: str, root: str | None, download: bool) -> Dataset:
    return datasets.load(name, root, download)


@lru_cache(maxsize=2)
def _reference(name: str, root: str | None, download: bool, device: str) -> Reference:
    return Reference(_load(name, root, download).to(device))


def choose_device(name: str) -> str:
    """Return the torch device for "auto", "cpu", "cuda" or "mps"; UserError if it is not there."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if present[device])
    if name not in present:
        raise UserError(f"unknown device '{name}'; give auto, cpu, cuda or mps")
    if not present[name]:
        raise UserError(f"--device {name}: this machine has none that torch can use; try --device auto")
    return name


def perform(work: Work, tell: Tell) -> Outcome:
    """Train and measure what is left of one model."""
    outcome = Outcome(work.model)
    first = work.specs[0]
    untrained, unmeasured = work.untrained(), work.unmeasured()
    if untrained:
        tell(work.model, "train", 0, 0.0)  # it has begun
        data = _reference(first.dataset, work.data_root, work.download, work.device).data
        train(
            untrained,
            data,
            work.out,
            lambda done, speed: tell(work.model, "train", done, speed),
            engine=work.engine,
        )
        outcome.trained = len(untrained)
        tell(work.model, "trained", len(untrained), 0.0)
    for spec, metrics in unmeasured:
        # Apple's GPUs have no float64, which all metrics need.
        device = "cpu" if work.device == "mps" else work.device
        reference = _reference(first.dataset, work.data_root, work.download, device)
        measure(spec, spec.folder(work.out), reference, metrics)
        outcome.measured += 1
        tell(work.model, "measured", 1, 0.0)
    for spec in work.specs:
        status = Status.read(spec.folder(work.out))
        if status is not None and status.state == "diverged":
            outcome.diverged.append(f"seed {spec.seed} diverged at round {status.round}")
    return outcome


def execute(works: Sequence[Work], workers: int, tell: Tell) -> list[Outcome]:
    """Perform all work and return the outcomes in order.

    Args:
        works: one per model.
        workers: number of processes; 1 works in this one.
        tell: progress callback of this process.

    Raises:
        UserError: what went wrong in any of them; the others are finished first.
    """
    for work in works:  # absent files are one error, not one per model, and only this process fetches any
        _load(work.specs[0].dataset, work.data_root, work.download)
    outcomes: list[Outcome] = []
    failures: list[tuple[str, Exception]] = []

    def collect(work: Work, result: Callable[[], Outcome]) -> None:
        try:
            outcomes.append(result())
        except BrokenProcessPool:
            failures.append((work.model, UserError("a worker process died (out of memory?); run again to go on")))
        except Exception as error:
            failures.append((work.model, error))

    if workers == 1:
        for work in works:
            collect(work, partial(perform, work, tell))
    else:
        for work, future in zip(works, _in_processes(works, workers, tell), strict=True):
            collect(work, future.result)
    if failures:
        raise _failure(failures)
    return outcomes


def _failure(failures: list[tuple[str, Exception]]) -> Exception:
    """Return the first failure; a user's mistake with the names of all models that failed."""
    model, error = failures[0]
    if not isinstance(error, UserError):
        return error
    others = dict.fromkeys(other for other, _ in failures if other != model)
    return UserError(f"{model}: {error}" + (f"; also failed: {', '.join(others)}" if others else ""))


def _in_processes(works: Sequence[Work], workers: int, tell: Tell) -> list[Future[Outcome]]:
    """Perform all work in worker processes and return its futures, all done."""
    context = multiprocessing.get_context("spawn")
    queue, stop = context.Queue(), context.Event()
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, _start, (works[0].plugins, threads, queue, stop)) as pool:
        futures = [pool.submit(_perform_in_process, work) for work in works]
        try:
            while not all(future.done() for future in futures):
                _drain(queue, tell)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        _drain(queue, tell)
    return futures


_worker_tell: Tell


def _start(plugins: tuple[str, ...], threads: int, queue: Any, stop: Any) -> None:
    """Prepare a worker process: one with something to tell stops there once its parent has."""
    global _worker_tell
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    queue.cancel_join_thread()  # a parent that has stopped reads no more news
    torch.set_num_threads(threads)
    for plugin in plugins:
        registry.load_plugin(plugin)

    def tell(*news: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        queue.put(news)

    _worker_tell = tell


def _perform_in_process(work: Work) -> Outcome:
    return perform(work, _worker_tell)


def _drain(queue: Any, tell: Tell) -> None:
    """Pass on what the workers have told, waiting a moment for the first word."""
    try:
        tell(*queue.get(timeout=0.2))
        while True:
            tell(*queue.get_nowait())
    except Empty:
        pass
