"""Learning curves: a metric at every snapshot of runs, as means over seeds with their spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ganbench import registry
from ganbench.errors import UserError
from ganbench.evaluation.grid import png
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.measure import find
from ganbench.evaluation.real import RealData
from ganbench.records import write_whole
from ganbench.runs.folder import restore, snapshot, snapshot_rounds
from ganbench.suites.spec import RunSpec


def curve(folder: Path, spec: RunSpec, real: RealData, name: str) -> list[tuple[int, float]]:
    """Return (round, value) at every snapshot of a run, without what games take from their data after training.

    Args:
        folder: of the run.
        spec: its specification.
        reference: its dataset.
        name: metric or metric@extractor.

    Raises:
        UserError: no snapshots, or a metric that the game cannot be measured by.
    """
    metric, extractor = find(name)
    rounds = [round_ for round_ in snapshot_rounds(spec) if snapshot(folder, round_).exists()]
    if not rounds:
        raise UserError(f"'{folder}' kept no snapshots; run a budget that has them, e.g. cpu of clustering-30")
    points = []
    for round_ in rounds:
        game = restore(spec, real.data, folder, round_)
        if not callable(getattr(game, metric.ability, None)):
            raise UserError(f"{spec.model} has no {metric.ability}, which {name} needs")
        points.append((round_, metric.compute(RunInputs(game, spec, real), extractor).value))
    return points


def draw_curves(runs: Sequence[tuple[Path, RunSpec, RealData]], name: str, path: Path) -> None:
    """Draw a metric over rounds: each trained model's mean over its seeds, and a band from lowest to highest."""
    from matplotlib.figure import Figure  # slow to import, needed here only

    lines: dict[str, dict[int, list[float]]] = {}
    for folder, spec, real in runs:
        if not registry.models.get(spec.model).game.players:
            continue  # a reference is fitted at once
        for round_, value in curve(folder, spec, real, name):
            lines.setdefault(spec.model, {}).setdefault(round_, []).append(value)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for model, points in lines.items():
        rounds = sorted(points)
        means = [sum(points[r]) / len(points[r]) for r in rounds]
        [drawn] = axes.plot(rounds, means, marker=".", label=f"{model} ({len(points[rounds[0]])} seeds)")
        low, high = ([edge(points[r]) for r in rounds] for edge in (min, max))
        axes.fill_between(rounds, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
    datasets = sorted({spec.dataset for _, spec, _ in runs})
    axes.set(xlabel="round", ylabel=name, title=f"{', '.join(datasets)}: mean, lowest and highest of the seeds")
    axes.legend(fontsize=8)
    write_whole(path, png(figure))
