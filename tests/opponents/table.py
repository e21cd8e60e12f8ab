"""Paired runs of ours and an opponent, and the table made of them."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from rich.progress import track


@dataclass(frozen=True)
class Pair:
    """A comparison.

    Args:
        what: name of the row.
        unit: of both figures.
        start: () -> (ours, opponent), two functions that each make one run and return its figure.
        target: least ratio asked for, NaN if none.
        limit: () -> the figure that arithmetic alone would allow us, NaN if unknown.
        higher: whether a larger figure is better.
    """

    what: str
    unit: str
    start: Callable[[], tuple[Callable[[], float], Callable[[], float]]]
    target: float = math.nan
    limit: Callable[[], float] = lambda: math.nan
    higher: bool = False

    def measure(self, repeats: int) -> pd.DataFrame:
        """Return one line per repeat: ours and the opponent right after one another, and the limit."""
        ours, opponent = self.start()
        lines = [{"ours": ours(), "opponent": opponent(), "limit": self.limit()} for _ in range(repeats)]
        frame = pd.DataFrame(lines)
        frame["ratio"] = frame["ours"] / frame["opponent"] if self.higher else frame["opponent"] / frame["ours"]
        frame.insert(0, "repeat", range(repeats))
        frame.insert(0, "unit", self.unit)
        frame.insert(0, "what", self.what)
        return frame.assign(target=self.target)


def machine(device: str) -> str:
    """Return processor, cores and versions in one line."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    gpu = f"; {torch.cuda.get_device_name()}" if device == "cuda" else ""
    used = " ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "scikit-learn"))
    capability = torch.backends.cpu.get_cpu_capability()
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{model} ({capability}), {cores}{gpu}; Python {platform.python_version()}, {used}"


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one line per comparison: medians over the repeats, the range of the ratio, and the verdict."""
    lines = []
    for what, group in rows.groupby("what", sort=False):
        ratio, target = group["ratio"].median(), group["target"].iat[0]
        met = "" if math.isnan(target) else "met" if ratio >= target else "not met"
        lines.append(
            {
                "what": what,
                "unit": group["unit"].iat[0],
                "ours": f"{group['ours'].median():,.4g}",
                "opponent": f"{group['opponent'].median():,.4g}",
                "limit": "" if group["limit"].isna().all() else f"{group['limit'].median():,.4g}",
                "ratio": f"{ratio:.2f}",
                "from-to": f"{group['ratio'].min():.2f}-{group['ratio'].max():.2f}",
                "target": "" if math.isnan(target) else f"{target:.3g}",
                "": met,
            }
        )
    return pd.DataFrame(lines)


def command(name: str, pairs: Callable[[str, bool], list[Pair]]) -> None:
    """Run the command line of a table: measure all pairs, print the table, write it if asked."""

    def main(
        repeats: Annotated[int, typer.Option(help="paired runs per row")] = 5,
        only: Annotated[str, typer.Option(help="rows whose name contains this")] = "",
        device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
        quick: Annotated[bool, typer.Option("--quick", help="tiny sizes, one repeat: does it work?")] = False,
        out: Annotated[Path | None, typer.Option(help="folder for raw rows (.csv) and table (.md)")] = None,
    ) -> None:
        chosen = [pair for pair in pairs(device, quick) if only in pair.what]
        if not chosen:
            raise typer.BadParameter(f"no row is called *{only}*")
        rows = pd.concat([pair.measure(1 if quick else repeats) for pair in track(chosen, transient=True)])
        where = machine(device)
        note = f"Medians of {1 if quick else repeats} paired runs; {where}."
        text = f"{summary(rows).to_markdown(index=False, disable_numparse=True)}\n\n{note}\n"
        print(text)
        if out:
            out.mkdir(parents=True, exist_ok=True)
            rows.assign(machine=where).to_csv(out / f"{name}-{device}.csv", index=False)
            (out / f"{name}-{device}.md").write_text(text, encoding="utf-8")

    typer.run(main)
