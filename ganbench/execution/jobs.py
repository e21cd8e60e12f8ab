"""A job, all seeds of one model: what is left of it, how it is done, and what became of it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from ganbench.errors import UserError
from ganbench.evaluation.measure import measure, wanted
from ganbench.evaluation.real import RealData, real_data
from ganbench.runs.folder import Status, pending
from ganbench.suites.spec import RunSpec
from ganbench.training.loop import train

Tell = Callable[[str, str, int, float], None]
"""Called with (model, "train", rounds just played, images/s), (model, "trained" or "measured", runs, 0) or
(model, "busy", 0, 0) when another process works on it."""


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
        again: measure even what has rows already, and train nothing.
        engine: form of the training step.
        label: what the user sees; default the model's name.
        wait: for another process that works on the same runs, instead of leaving them to it.
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
    wait: bool = False

    @property
    def lock(self) -> Path:
        """File that a process locks while it trains and measures these runs."""
        spec = self.specs[0]
        return self.out / ".locks" / f"{spec.suite}.{spec.model}.{spec.config_hash}"

    @property
    def model(self) -> str:
        """Name of the model, with its dataset if that is needed."""
        return self.label or self.specs[0].model

    @property
    def cost(self) -> int:
        """Optimiser steps of all players and seeds, whatever is done already."""
        return self.specs[0].steps(self.specs[0].rounds) * len(self.specs)

    @property
    def steps(self) -> int:
        """Optimiser steps still to take."""
        return self.cost * len(self.untrained()) // len(self.specs)

    def real_data(self, device: str = "cpu") -> RealData:
        """Return the dataset of the runs on a device."""
        return real_data(self.specs[0].dataset, self.data_root, self.download, device)

    def untrained(self) -> list[RunSpec]:
        """Return the runs still to train; none if finished runs are only to be measured again."""
        if self.again:
            return []
        # Only a user's own files can change under the same name; the others are held to their checksums.
        data = self.real_data().data.sha256[:12] if ":" in self.specs[0].dataset else ""
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
    busy: bool = False
    "whether the runs were left to another process that works on them"
    diverged: list[str] = field(default_factory=list)
    error: str = ""
    "what went wrong, in one line"
    traceback: str = ""
    "where, if it is a bug"


def choose_device(name: str, elsewhere: bool = False) -> str:
    """Return the torch device for "auto", "cpu", "cuda" or "mps"; UserError if it is to be here and is not."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if present[device])
    if name not in present:
        raise UserError(f"unknown device '{name}'; give auto, cpu, cuda or mps")
    if not (present[name] or elsewhere):
        raise UserError(f"--device {name}: this machine has none that torch can use; try --device auto")
    return name


def run_job(job: Job, tell: Tell) -> Outcome:
    """Train and measure what is left of one model, alone among all processes that train it."""
    if job.again:  # trains nothing, and rows are merged
        return _run(job, tell)
    job.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(job.lock, blocking=job.wait):
            return _run(job, tell)
    except Timeout:
        tell(job.model, "busy", 0, 0.0)
        return Outcome(job.model, busy=True)


def _run(job: Job, tell: Tell) -> Outcome:
    outcome = Outcome(job.model)
    untrained, unmeasured = job.untrained(), job.unmeasured()
    if untrained:
        tell(job.model, "train", 0, 0.0)  # it has begun
        data = job.real_data(job.device).data
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
        measure(spec, spec.folder(job.out), job.real_data(device), metrics)
        outcome.measured += 1
        tell(job.model, "measured", 1, 0.0)
    for spec in job.specs:
        status = Status.read(spec.folder(job.out))
        if status is not None and status.state == "diverged":
            outcome.diverged.append(f"seed {spec.seed} diverged at round {status.round}")
    return outcome


def try_job(job: Job, tell: Tell) -> Outcome:
    """Run the job; what goes wrong is part of the outcome, so that it costs no other model anything."""
    try:
        return run_job(job, tell)
    except (UserError, OSError) as error:
        return Outcome(job.model, error=str(error))
    except Exception as error:
        line = f"{type(error).__name__}: {error}; --debug shows where"
        return Outcome(job.model, error=line, traceback=traceback.format_exc())


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
