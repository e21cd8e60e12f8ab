"""Paired times of ours and an opponent, as rows of a CSV file and as one table."""

from __future__ import annotations

import csv
import io
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ganbench.records import write_whole

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Comparison:
    """Two ways to one answer.

    Args:
        name: what is computed, with its sizes.
        ours, theirs: () -> answer; both are timed.
        target: ratio of times that is aimed at, 0 if none is.
        difference: (our answer, their answer) -> largest difference, relative to the size of the answer; None
            where both go their own random way.
        tolerance: the largest difference that counts as the same answer.
        scale: their time is multiplied by it, where they do only a part of the work.
        work: floating point operations that cannot be done without; 0 where no limit is sensible.
        speed: () -> operations per second at which `work` sets the limit.
        note: what a reader must know, e.g. the rule behind `scale`.
    """

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    target: float
    difference: Callable[[Any, Any], float] | None = None
    tolerance: float = 0.0
    scale: float = 1.0
    work: float = 0.0
    speed: Callable[[], float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Result:
    """What was measured of one comparison.

    Args:
        comparison: its name.
        ours, theirs: seconds of each repeat; theirs scaled.
        target: as in the comparison.
        limit: seconds that the arithmetic alone takes at the measured peak of matrix products; 0 if unknown.
        difference: largest relative difference of the two answers, NaN if they are not compared.
        tolerance, note: as in the comparison.
    """

    comparison: str
    ours: list[float]
    theirs: list[float]
    target: float
    limit: float
    difference: float
    tolerance: float
    note: str

    @property
    def ratio(self) -> float:
        """The median over the pairs of their time divided by ours."""
        return statistics.median(b / a for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def agrees(self) -> bool:
        """Whether both gave the same answer."""
        return not self.difference > self.tolerance


def clock(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and answer of one call; work on a GPU is waited for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    answer = function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, answer


@cache
def product_peak(dtype: torch.dtype, size: int = 2048, repeats: int = 5, device: str = "cpu") -> float:
    """Return the largest measured number of operations per second of a square matrix product."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / min(clock(lambda: torch.mm(a, b))[0] for _ in range(repeats))


@cache
def convolution_peak(dtype: torch.dtype, repeats: int = 5, device: str = "cpu") -> float:
    """Return the largest measured number of operations per second of a 3 x 3 convolution, channels last."""
    n, channels, side = 16, 256, 34
    x = torch.randn(n, channels, side, side, device=device).to(dtype=dtype, memory_format=torch.channels_last)
    kernel = torch.randn(channels, channels, 3, 3, device=device).to(
        dtype=dtype, memory_format=torch.channels_last
    )
    F.conv2d(x, kernel)
    work = 2 * n * channels**2 * 9 * (side - 2) ** 2
    return work / min(clock(lambda: F.conv2d(x, kernel))[0] for _ in range(repeats))


def measure(comparison: Comparison, repeats: int) -> Result:
    """Return the times of ours and theirs, one after the other in every repeat, after one untimed pair.

    Args:
        comparison: what to measure.
        repeats: number of timed pairs, >= 1.
    """
    answers = comparison.ours(), comparison.theirs()
    difference = comparison.difference(*answers) if comparison.difference else math.nan
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(clock(comparison.ours)[0])
        theirs.append(clock(comparison.theirs)[0] * comparison.scale)
    return Result(
        comparison.name,
        ours,
        theirs,
        comparison.target,
        comparison.work / comparison.speed() if comparison.speed else 0.0,
        difference,
        comparison.tolerance,
        comparison.note,
    )


def machine(libraries: Sequence[str] = LIBRARIES) -> str:
    """Return processor, cores and versions; nothing that names the computer."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{gpu};"
        f" Python {platform.python_version()}, {versions}"
    )


def _target(result: Result) -> str:
    missed = " (missed)" if result.ratio < result.target else ""
    return f">= {result.target:.3g}{missed}" if result.target else ""


def _difference(result: Result) -> str:
    if math.isnan(result.difference):
        return ""
    return f"{result.difference:.1g}" + ("" if result.agrees else f" **more than {result.tolerance:g}**")


def markdown(title: str, results: Sequence[Result], libraries: Sequence[str] = LIBRARIES) -> str:
    """Return the table as a page with machine and notes."""
    head = ("what", "ours, s", "opponent, s", "ratio", "target", "limit, s", "largest difference")
    lines = [f"# {title}", "", machine(libraries), ""]
    lines += [
        "Medians of paired runs, (5 x) for five; the ratio is the median over pairs. The limit is the time of the"
        " necessary operations at the largest measured speed of a matrix product, for networks a convolution.",
        "",
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
    ]
    for result in results:
        cells = (
            f"{result.comparison} ({len(result.ours)} x)",
            f"{statistics.median(result.ours):.3g}",
            f"{statistics.median(result.theirs):.4g}",
            f"{result.ratio:.1f}",
            _target(result),
            f"{result.limit:.3g}" if result.limit else "",
            _difference(result),
        )
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {result.comparison}: {result.note}" for result in results if result.note]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def rows(results: Sequence[Result]) -> str:
    """Return the times of all repeats as CSV, one line per pair."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("what", "repeat", "ours_s", "opponent_s", "target", "limit_s", "difference"))
    for result in results:
        for i, (ours, theirs) in enumerate(zip(result.ours, result.theirs, strict=True)):
            writer.writerow(
                (result.comparison, i, ours, theirs, result.target, result.limit or "", result.difference)
            )
    return text.getvalue()


def write(folder: Path, name: str, page: str, table: str) -> None:
    """Write NAME.md and NAME.csv into a folder, which is made if it is absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.md", page.encode())
    write_whole(folder / f"{name}.csv", table.encode())
