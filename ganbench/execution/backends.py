"""Where the jobs of a suite run: in this process, in several, or wherever a backend takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from ganbench import registry
from ganbench.errors import suggest
from ganbench.execution.jobs import Job, Outcome, Tell, try_job
from ganbench.execution.processes import in_processes

Backend = Callable[[Sequence[Job], int, Tell], list[Outcome]]
"""(jobs, number of workers >= 1, callback for news) -> outcomes in the order of the jobs."""

GPU_SHARE = 0.9  # of a GPU's memory is for tensors; every process needs some for itself


def run_jobs(jobs: Sequence[Job], workers: int, tell: Tell, backend: str = "") -> list[Outcome]:
    """Run all jobs and return the outcomes in order; `check` raises what went wrong in any of them.

    Those that another process works on are taken last; what it has done by then is done.

    Args:
        jobs: one per model.
        workers: how many may run at once.
        tell: progress callback of this process.
        backend: one of BACKENDS; "" is "serial" for one worker or job, else "processes".

    Raises:
        UserError: a dataset is absent, or an unknown backend.
    """
    workers = min(workers, len(jobs))
    backend = backend or ("serial" if workers <= 1 else "processes")
    if backend not in BACKENDS:
        raise suggest("backend", backend, list(BACKENDS))
    if not jobs:
        return []
    for job in jobs:  # absent files are one error, not one per model, and only this process fetches any
        job.real_data()
    outcomes = BACKENDS[backend](jobs, workers, tell)
    busy = [place for place, outcome in enumerate(outcomes) if outcome.busy]
    waiting = [replace(jobs[place], wait=True) for place in busy]
    for place, outcome in zip(busy, BACKENDS[backend](waiting, workers, tell) if busy else (), strict=True):
        outcomes[place] = outcome
    return outcomes


def serial(jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Run the jobs one after another in this process."""
    return [try_job(job, tell) for job in jobs]


def processes(jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Run the jobs in processes of this machine, which share out its cores and the memory of a GPU."""
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


BACKENDS: dict[str, Backend] = {"serial": serial, "processes": processes}
