"""Where the work of a suite runs: in this process, or in several."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import torch

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.evaluation.measure import measure, wanted
from ganbench.evaluation.real import RealData
from ganbench.execution.processes import in_processes
from ganbench.runs.folder import Status, pending
from ganbench.suites.spec import RunSpec
from ganbench.training.loop import train

Tell = Callable[[str, str, int, float], None]
"""Called with (model, "train", rounds just played, images/s) or (model, "trained" or "measured", runs, 0)."""

GPU_SHARE = 0.9  # of a GPU's memory is for tensors; every process needs some for itself


@dataclass(frozen=True)
class Job:
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
        label: what the user sees; default the model's name.
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
    label: str = ""

    @property
    def model(self) -> str:
        """Name of the model, with its dataset if that is needed."""
        return self.label or self.specs[0].model

    @property
    def steps(self) -> int:
        """Optimiser steps still to take, of all players and seeds, foreseen ones included."""
        players = [part for part in self.specs[0].settings.values() if isinstance(part, dict) and "steps" in part]
        steps = sum(player["steps"] * (1 + player["unroll"]) for player in players)
        return steps * self.specs[0].rounds * len(self.untrained())

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
    error: str = ""
    "what went wrong, in one line"
    traceback: str = ""
    "where, if it is a bug"


@lru_cache(maxsize=2)
def _load(name: str, root: str | None, download: bool) -> Dataset:
    return datasets.load(name, root, download)


@lru_cache(maxsize=2)
def _reference(name: str, root: str | None, download: bool, device: str) -> RealData:
    return RealData(_load(name, root, download).to(device))


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


def run_job(job: Job, tell: Tell) -> Outcome:
    """Train and measure what is left of one model."""
    outcome = Outcome(job.model)
    first = job.specs[0]
    untrained, unmeasured = job.untrained(), job.unmeasured()
    if untrained:
        tell(job.model, "train", 0, 0.0)  # it has begun
        data = _reference(first.dataset, job.data_root, job.download, job.device).data
        train(
            untrained,
            data,
            job.out,
            lambda done, speed: tell(job.model, "train", done, speed),
            engine=job.engine,
        )
        outcome.trained = len(untrained)
        tell(job.model, "trained", len(untrained), 0.0)
    for spec, metrics in unmeasured:
        # Apple's GPUs have no float64, which all metrics need.
        device = "cpu" if job.device == "mps" else job.device
        real = _reference(first.dataset, job.data_root, job.download, device)
        measure(spec, spec.folder(job.out), real, metrics)
        outcome.measured += 1
        tell(job.model, "measured", 1, 0.0)
    for spec in job.specs:
        status = Status.read(spec.folder(job.out))
        if status is not None and status.state == "diverged":
            outcome.diverged.append(f"seed {spec.seed} diverged at round {status.round}")
    return outcome


def try_job(job: Job, tell: Tell) -> Outcome:
    """Perform the work; what goes wrong is part of the outcome, so that it costs no other model anything."""
    try:
        return run_job(job, tell)
    except (UserError, OSError) as error:
        return Outcome(job.model, error=str(error))
    except Exception as error:
        line = f"{type(error).__name__}: {error}; --debug shows where"
        return Outcome(job.model, error=line, traceback=traceback.format_exc())


def run_jobs(jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Perform all work and return the outcomes in order; `check` raises what went wrong in any of them.

    Args:
        works: one per model.
        workers: number of processes; 1 works in this one. They share out the cores and the memory of a GPU.
        tell: progress callback of this process.

    Raises:
        UserError: a dataset is absent.
    """
    for job in jobs:  # absent files are one error, not one per model, and only this process fetches any
        _load(job.specs[0].dataset, job.data_root, job.download)
    workers = min(workers, len(jobs))
    if workers <= 1:
        return [try_job(job, tell) for job in jobs]
    order = sorted(range(len(jobs)), key=lambda place: -jobs[place].steps)  # a long one begun last ends alone
    outcomes = in_processes(
        try_job,
        [jobs[place] for place in order],
        workers,
        tell,
        lost=lambda job, cause: Outcome(job.model, error=f"{cause}; run the same command again to go on"),
        prepare=partial(_prepare, jobs[0].plugins, jobs[0].device, workers),
        environment={"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // workers))},
    )
    return [outcome for _, outcome in sorted(zip(order, outcomes, strict=True), key=lambda pair: pair[0])]


def _prepare(plugins: Sequence[str], device: str, workers: int) -> None:
    """Prepare a worker process: one that asks for more than its share of a GPU's memory gets an error."""
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(GPU_SHARE / workers)
    for plugin in plugins:
        registry.load_plugin(plugin)


def check(outcomes: Sequence[Outcome]) -> None:
    """Raise UserError if any model failed: the first one's error, with the names of the others."""
    failed = [outcome for outcome in outcomes if outcome.error]
    if not failed:
        return
    first = failed[0]
    others = dict.fromkeys(outcome.model for outcome in failed if outcome.model != first.model)
    error = UserError(f"{first.model}: {first.error}" + (f"; also failed: {', '.join(others)}" if others else ""))
    if first.traceback:
        error.add_note(first.traceback)
    raise error
