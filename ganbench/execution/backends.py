"""Where the jobs of a suite run: in this process, in several, or on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from ganbench import registry
from ganbench.errors import UserError, suggest
from ganbench.execution.cluster import on_cluster
from ganbench.execution.jobs import Job, Outcome, Tell, try_job
from ganbench.execution.processes import Item, Result, in_processes
from ganbench.execution.ray import on_ray
from ganbench.execution.slurm import on_slurm

Backend = Callable[..., list[Outcome]]
"""(jobs, number of workers >= 1, callback for news[, what follows the name]) -> outcomes in the jobs' order."""

GPU_SHARE = 0.9  # of a GPU's memory is for tensors; every process needs some for itself


def run_jobs(jobs: Sequence[Job], workers: int, tell: Tell, backend: str = "") -> list[Outcome]:
    """Run all jobs and return the outcomes in order; `check` raises what went wrong in any of them.

    Those that another process works on are taken last; what it has done by then is done.

    Args:
        jobs: one per model.
        workers: how many may run at once on a machine.
        tell: progress callback of this process.
        backend: one of BACKENDS, for a cluster with "ray:ADDRESS" or "slurm:key=value,..."; "" is "serial" for one
            worker or job, else "processes".

    Raises:
        UserError: a dataset is absent, an unknown backend, or no cluster.
    """
    workers = min(workers, len(jobs))
    backend, _, where = backend.partition(":")
    backend = backend or ("serial" if workers <= 1 else "processes")
    if backend not in BACKENDS:
        raise suggest("backend", backend, list(BACKENDS))
    if where and backend not in CLUSTERS:
        raise UserError(f"backend {backend} takes nothing after its name, got '{where}'")
    if not jobs:
        return []
    for job in jobs:  # absent files are one error, not one per model, and only this process fetches any
        job.real_data()
    place_of = [where] if where else []
    outcomes = BACKENDS[backend](jobs, workers, tell, *place_of)
    busy = [place for place, outcome in enumerate(outcomes) if outcome.busy]
    waiting = [replace(jobs[place], wait=True) for place in busy]
    for place, outcome in zip(
        busy, BACKENDS[backend](waiting, workers, tell, *place_of) if busy else (), strict=True
    ):
        outcomes[place] = outcome
    return outcomes


def serial(jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Run the jobs one after another in this process."""
    return [try_job(job, tell) for job in jobs]


def processes(jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Run the jobs in processes of this machine, which share out its cores and the memory of a GPU."""
    order = sorted(range(len(jobs)), key=lambda place: -jobs[place].steps)  # a long one begun last ends alone
    outcomes = share_out(
        try_job,
        [jobs[place] for place in order],
        workers,
        tell,
        lost=lambda job, cause: Outcome(job.model, error=cause),
        plugins=jobs[0].plugins,
        device=jobs[0].device,
    )
    return [outcome for _, outcome in sorted(zip(order, outcomes, strict=True), key=lambda pair: pair[0])]


def share_out(
    run_job: Callable[[Item, Callable[..., None]], Result],
    items: Sequence[Item],
    workers: int,
    tell: Callable[..., None],
    lost: Callable[[Item, str], Result],
    plugins: Sequence[str],
    device: str,
) -> list[Result]:
    """Return what becomes of every item in processes that share out this machine's cores and a GPU's memory.

    Args:
        run_job, items, workers: see `in_processes`.
        tell: called in this process with each piece of news.
        lost: gives the result for an item whose process died, from the item and what to tell the user.
        plugins: files that every process loads first.
        device: torch device name.
    """
    return in_processes(
        run_job,
        items,
        workers,
        tell,
        lost=lambda item, cause: lost(item, f"{cause}; run the same command again to go on"),
        prepare=partial(_prepare, plugins, device, workers),
        environment={"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // workers))},
    )


def _prepare(plugins: Sequence[str], device: str, workers: int) -> None:
    """Prepare a worker process: one that asks for more than its share of a GPU's memory gets an error."""
    if device == "cuda":
        torch.cuda.set_per_process_memory_fraction(GPU_SHARE / workers)
    for plugin in plugins:
        registry.load_plugin(plugin)


def ray(jobs: Sequence[Job], workers: int, tell: Tell, address: str = "") -> list[Outcome]:
    """Run the jobs on a Ray cluster, so many at once in a task with a core each and a GPU in common."""
    return on_cluster(partial(on_ray, address=address), _here, jobs, workers, tell)


def slurm(jobs: Sequence[Job], workers: int, tell: Tell, options: str = "") -> list[Outcome]:
    """Run the jobs on a Slurm cluster, so many at once in a Slurm job with a core each and a GPU in common."""
    scatter = partial(on_slurm, folder=jobs[0].out.resolve() / ".slurm", options=options)
    return on_cluster(scatter, _here, jobs, workers, tell)


def _here(jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Run the jobs at once on this machine."""
    return (serial if workers == 1 else processes)(jobs, workers, tell)


CLUSTERS: dict[str, Backend] = {"ray": ray, "slurm": slurm}
BACKENDS: dict[str, Backend] = {"serial": serial, "processes": processes, **CLUSTERS}
