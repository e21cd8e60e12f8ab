"""Jobs on the machines of a cluster: what is sent there, how it is done there, and what comes back."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganbench import registry
from ganbench.errors import UserError
from ganbench.execution.jobs import Job, Outcome, Tell
from ganbench.records import write_whole
from ganbench.suites.spec import RunSpec

Run = Callable[[Sequence[Job], int, Tell], list[Outcome]]
Files = dict[str, bytes]
"""Path in a run folder -> content."""
Scatter = Callable[[Callable[[Any], Any], Sequence[Any], int, int], Iterator[tuple[int, Any]]]
"""(function, items, cores and GPUs of each call) -> (index, result or exception) of each item as it is done."""


@dataclass(frozen=True)
class Pack:
    """Jobs that share a machine's cores and GPU.

    Args:
        jobs: begun in this order.
        run: does them on that machine.
        mark: a file that a machine finds if it sees our folder of runs.
        finished: contents of their run folders, in the order of `specs_of`, for a machine that does not.
    """

    jobs: tuple[Job, ...]
    run: Run
    mark: Path
    finished: tuple[Files, ...]


def on_cluster(scatter: Scatter, run: Run, jobs: Sequence[Job], workers: int, tell: Tell) -> list[Outcome]:
    """Return what becomes of the jobs, in their order, of which so many share a machine.

    A machine that sees our folder of runs works there, so that another goes on where a dead one stopped; from any
    other the run folders come back as bytes.
    """
    order = sorted(range(len(jobs)), key=lambda place: -jobs[place].steps)  # a long one begun last ends alone
    places = [order[start : start + workers] for start in range(0, len(order), workers)]
    outcomes: dict[int, Outcome] = {}
    with _mark(jobs[0].out) as mark:
        packs = []
        for part in places:
            sent = tuple(_resolved(jobs[place]) for place in part)
            packs.append(Pack(sent, run, mark, tuple(_read(spec.folder(mark.parent)) for spec in _specs(sent))))
        for index, result in scatter(run_pack, packs, workers, int(jobs[0].device == "cuda")):
            pack = packs[index]
            if isinstance(result, Exception):
                lines = str(result).strip().splitlines() or [""]
                error = f"{type(result).__name__}: {lines[-1]}; run the same command again to go on"
                result = [Outcome(job.model, error=error) for job in pack.jobs], ()
            done, back = result
            for spec, files in zip(_specs(pack.jobs), back, strict=False):  # nothing if it sees our folder
                _write(spec.folder(mark.parent), files)
            for place, outcome in zip(places[index], done, strict=True):
                outcomes[place] = outcome
                tell(outcome.model, "trained", outcome.trained, 0.0)
                tell(outcome.model, "measured", outcome.measured, 0.0)
    return [outcomes[place] for place in range(len(jobs))]


def run_pack(pack: Pack) -> tuple[list[Outcome], tuple[Files, ...]]:
    """Do some jobs on this machine of the cluster; return the contents of run folders that are not shared."""
    try:
        for plugin in pack.jobs[0].plugins:
            registry.load_plugin(plugin)
    except UserError as error:
        return [Outcome(job.model, error=str(error)) for job in pack.jobs], ()
    if pack.mark.exists():
        return pack.run(pack.jobs, len(pack.jobs), _quiet), ()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        specs = _specs(pack.jobs)
        for spec, files in zip(specs, pack.finished, strict=True):
            _write(spec.folder(out), files)
        outcomes = pack.run([replace(job, out=out) for job in pack.jobs], len(pack.jobs), _quiet)
        return outcomes, tuple(_read(spec.folder(out)) for spec in specs)


def _quiet(*news: object) -> None:
    """Take news and say nothing."""


def _resolved(job: Job) -> Job:
    """Return the job with paths that mean the same in another working folder and environment."""
    data = job.data_root or os.environ.get("GANBENCH_DATA")
    plugins = tuple(str(Path(plugin).resolve()) for plugin in job.plugins)
    return replace(job, out=job.out.resolve(), data_root=data and str(Path(data).resolve()), plugins=plugins)


def _specs(jobs: Sequence[Job]) -> list[RunSpec]:
    """Return the runs of all jobs."""
    return [spec for job in jobs for spec in job.specs]


@contextmanager
def _mark(out: Path) -> Iterator[Path]:
    """Keep a file of a name of its own in the folder of runs."""
    mark = out.resolve() / f".{uuid.uuid4().hex}.driver"
    write_whole(mark, "")
    try:
        yield mark
    finally:
        mark.unlink()


def _read(folder: Path) -> Files:
    """Return the files of a run folder, none if the run is not finished."""
    if not (folder / "status.json").exists():
        return {}
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _write(folder: Path, files: Files) -> None:
    """Give a run folder these contents, the status last; a run that is not finished changes nothing."""
    if not files or files == _read(folder):
        return
    for old in ("status.json", *(_read(folder).keys() - files.keys())):
        (folder / old).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == "status.json"):
        write_whole(folder / name, files[name])
