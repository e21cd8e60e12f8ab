"""Calls of one function as jobs of a Slurm cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from ganbench.suites.expand import parse_literal

ARRAY = 1000  # jobs of one array; Slurm allows 1001 unless it is told otherwise
PAUSE = 1.0  # seconds between two looks at the jobs


def on_slurm(
    call: Callable[[Any], Any], items: Sequence[Any], cores: int, gpus: int, folder: Path, options: str = ""
) -> Iterator[tuple[int, Any]]:
    """Yield (index, result) of each item as it is done; the result is an exception if the call came to no end.

    A job that is preempted or runs out of time is queued again.

    Args:
        call: importable on every machine of the cluster.
        items: begun in about this order.
        cores: of each job.
        gpus: of each job.
        folder: for submitit's files, seen by every machine.
        options: "key=value,..." of submitit, e.g. "timeout_min=600,slurm_partition=gpu"; "cluster=local" starts
            processes of this machine instead.

    Raises:
        UserError: submitit or Slurm is not installed, or an unknown option.
    """
    try:
        import submitit
        from submitit.helpers import as_completed
    except ImportError:
        raise UserError("backend slurm needs submitit; pip install 'ganbench[slurm]'") from None
    pairs = (option.partition("=")[::2] for option in options.split(",") if option)
    chosen = {key.strip(): parse_literal(value) for key, value in pairs}
    asked = {"name": "ganbench", "timeout_min": 24 * 60, "cpus_per_task": cores, "gpus_per_node": gpus}
    try:
        executor = submitit.AutoExecutor(folder, cluster=chosen.pop("cluster", "slurm"))
        executor.update_parameters(**{**asked, **chosen})
    except (RuntimeError, ValueError, NameError, AssertionError) as error:
        raise UserError(f"backend slurm:{options}: {error}") from None
    jobs = []
    for start in range(0, len(items), ARRAY):
        jobs += executor.map_array(_Restarted(call), items[start : start + ARRAY])
    places = {job.job_id: index for index, job in enumerate(jobs)}
    try:
        for job in as_completed(jobs, poll_frequency=PAUSE):
            yield places.pop(job.job_id), job.exception() or job.result()
    finally:
        for job in jobs:
            if job.job_id in places:
                job.cancel()


class _Restarted:
    """A call that submitit may begin anew on another machine: our trainings go on by themselves."""

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self.call = call

    def __call__(self, item: Any) -> Any:
        """Return what the call returns."""
        return self.call(item)

    def checkpoint(self, item: Any) -> Any:
        """Return what submitit is to queue when the job is preempted or out of time."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, item)
