"""What a user sees while work is done: bars on a terminal, elsewhere a line for each trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganbench.execution.backends import run_jobs
from ganbench.execution.jobs import Job, Outcome, Tell


@contextmanager
def display(jobs: Sequence[Job]) -> Iterator[Tell]:
    """Yield the callback of `run_jobs` that shows rounds, images/s and the time left."""
    columns = (
        TextColumn("{task.description:<38}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    terminal = console.is_terminal
    progress = Progress(*columns, console=console, transient=True)
    with progress if terminal else nullcontext():  # rich before 15 ends even a disabled display with a blank line
        total = sum(len(job.untrained()) + len(job.unmeasured()) for job in jobs)
        overall = progress.add_task("runs to train and to measure", total=total, speed="")
        rounds = {job.model: len(job.untrained()) * job.specs[0].rounds for job in jobs}
        bars = {}

        def tell(model: str, stage: str, done: int, speed: float) -> None:
            if stage == "train":
                if model not in bars:
                    bars[model] = progress.add_task(f"{model} (rounds)", total=rounds[model], speed="")
                progress.update(bars[model], advance=done, speed=f"{speed:,.0f} images/s" if speed else "")
                return
            progress.advance(overall, done)
            if stage == "trained":
                if model in bars:
                    progress.update(bars[model], visible=False)
                if not terminal:
                    print(f"{model}: trained {done} runs", flush=True)

        yield tell


def run_with_progress(jobs: Sequence[Job], workers: int, out: Path, backend: str = "") -> list[Outcome]:
    """Do what is left of the jobs on a backend, say what was done and return what became of it."""
    todo = [job for job in jobs if job.untrained() or job.unmeasured()]
    runs = sum(len(job.specs) for job in jobs)
    if not todo:
        print(f"nothing to train or measure: all {runs} runs are finished in {out}")
        return []
    if not any(job.untrained() for job in jobs):
        print(f"nothing to train: all {runs} runs are trained in {out}")
    with display(todo) as tell:
        outcomes = run_jobs(todo, workers, tell, backend)
    trained = sum(outcome.trained for outcome in outcomes)
    measured = sum(outcome.measured for outcome in outcomes)
    print(f"trained {trained} of {runs} runs, measured {measured}")
    for outcome in outcomes:
        for line in outcome.diverged:
            print(f"{outcome.model}: {line}; its losses are in log.csv under {out}")
    return outcomes
