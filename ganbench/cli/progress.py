"""What a user sees while work is done: bars on a terminal, elsewhere a line for each trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganbench.cli.results import show
from ganbench.execution.jobs import Job, Outcome, Tell
from ganbench.execution.suite import Watcher

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def display(jobs: Sequence[Job]) -> Iterator[Tell]:
    """Yield the progress callback that shows rounds, images/s and the time left."""
    columns = (
        TextColumn("{task.description:<38}", markup=False),
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
            if stage == "busy":
                console.print(f"{model}: another ganbench works on it; it is taken up last", markup=False)
                return
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


class Terminal(Watcher):
    """Say what is left to do, what was done, and the leaderboard.

    Args:
        out: folder of all runs.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.runs, self.pending = 0, False

    @contextmanager
    def watch(self, jobs: Sequence[Job]) -> Iterator[Tell]:
        """Yield the callback that shows progress, once it is said whether there is anything to do."""
        todo = [job for job in jobs if job.untrained() or job.unmeasured()]
        self.runs, self.pending = sum(len(job.specs) for job in jobs), bool(todo)
        if not todo:
            print(f"nothing to train or measure: all {self.runs} runs are finished in {self.out}")
        elif not any(job.untrained() for job in jobs):
            print(f"nothing to train: all {self.runs} runs are trained in {self.out}")
        with display(todo) as tell:
            yield tell

    def finish(self, outcomes: Sequence[Outcome], rows: pd.DataFrame) -> None:
        """Print the numbers of runs, what diverged, the leaderboard, and where everything lies."""
        if self.pending:
            trained = sum(outcome.trained for outcome in outcomes)
            measured = sum(outcome.measured for outcome in outcomes)
            print(f"trained {trained} of {self.runs} runs, measured {measured}")
        for outcome in outcomes:
            for line in outcome.diverged:
                print(f"{outcome.model}: {line}; its losses are in log.csv under {self.out}")
        show(rows, "rich")
        folders = [self.out / name for name in dict.fromkeys(rows["suite"])]
        for folder in folders:
            drawn = any(folder.glob("*/*/samples.png"))
            pictures = f"{folder}/*/*/samples.png" if drawn else f"ganbench plot {folder}"
            print(f"score rows: {folder}/*/*/scores.csv   pictures: {pictures}   losses: .../log.csv")
