"""How runs went, drawn: generated points or densities over the known law, and what the critic made of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganbench.errors import UserError
from ganbench.evaluation.grid import png
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData, real_data
from ganbench.game.contract import Game
from ganbench.layers.blocks import Network
from ganbench.records import write_whole
from ganbench.runs.folder import restore, snapshot, snapshot_rounds
from ganbench.suites.spec import RunSpec, read_spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS, GRID, BINS, CELLS = 1000, 120, 200, 100_000
STRIP = 6  # snapshots side by side
REAL, FAKE, CRITIC = "#888888", "#c0392b", "#2c3e50"


@dataclass(frozen=True)
class Trajectory:
    """A finished run of which snapshots are kept.

    Args:
        spec: of the run.
        folder: its folder.
        real: its dataset, with a known distribution in one or two dimensions.
    """

    spec: RunSpec
    folder: Path
    real: RealData

    @property
    def rounds(self) -> list[int]:
        """Rounds before which the weights were kept; a run that diverged has fewer."""
        return [round_ for round_ in snapshot_rounds(self.spec) if snapshot(self.folder, round_).exists()]


def read_trajectory(folder: Path, data_root: str | None = None, download: bool = True) -> Trajectory:
    """Return the course of a run; UserError if its law is unknown, or if it kept no snapshots."""
    spec = read_spec(folder)
    if not spec.snapshots:
        raise UserError(f"'{folder}' kept no snapshots; run a suite whose budget has them, e.g. mixtures")
    real = real_data(spec.dataset, data_root, download)
    data = real.data
    if data.distribution is None or data.data_spec.shape not in ((1,), (2,)):
        raise UserError(f"{spec.dataset} cannot be drawn; only data of one or two dimensions with a known law can")
    return Trajectory(spec, folder, real)


def draw_trajectory(course: Trajectory) -> list[Path]:
    """Write training.png, a strip of snapshots, and training.gif, all of them, into the run folder."""
    strip, film = course.folder / "training.png", course.folder / "training.gif"
    draw_figure([course], strip)
    frames = []
    for round_ in course.rounds:
        figure = _figure(1, 1)
        _draw(figure.axes[0], course, round_)
        figure.suptitle(f"{course.spec.model}, {course.spec.dataset}", fontsize=9)
        frames.append(Image.open(io.BytesIO(png(figure))).convert("P", palette=Image.Palette.ADAPTIVE))
    movie = io.BytesIO()
    frames[0].save(movie, "GIF", save_all=True, append_images=frames[1:], duration=400, loop=0)
    write_whole(film, movie.getvalue())
    return [strip, film]


def draw_figure(courses: Sequence[Trajectory], path: Path) -> None:
    """Draw a row of snapshots for each run, the first seed of each model on each dataset, as one PNG."""
    firsts = list({(c.spec.dataset, c.spec.model): c for c in sorted(courses, key=_by_seed)}.items())
    order = list(dict.fromkeys((c.spec.dataset, c.spec.model) for c in courses))
    chosen = [dict(firsts)[key] for key in order]
    if any(not course.rounds for course in chosen):
        raise UserError("a run has lost its snapshots; train it again")
    figure = _figure(len(chosen), STRIP)
    for row, course in enumerate(chosen):
        places = np.linspace(0, len(course.rounds) - 1, STRIP).round().astype(int)
        for column, place in enumerate(places):
            axes = figure.axes[row * STRIP + column]
            _draw(axes, course, course.rounds[place])
            if not column:
                axes.set_ylabel(f"{course.spec.model}\n{course.spec.dataset}", fontsize=9)
    write_whole(path, png(figure))


def _by_seed(course: Trajectory) -> int:
    return -course.spec.seed  # so that the first seed is what stays


def _figure(rows: int, columns: int) -> Figure:
    from matplotlib.figure import Figure  # slow to import, needed here only

    figure = Figure(figsize=(2.2 * columns + 0.4, 2.2 * rows + 0.3), layout="constrained")
    figure.subplots(rows, columns)
    return figure


def _draw(axes: Axes, course: Trajectory, round_: int) -> None:
    game = restore(course.spec, course.real.data, course.folder, round_)
    inputs = RunInputs(game, course.spec, course.real)
    axes.set_title(f"round {round_:,}", fontsize=8)
    axes.tick_params(labelsize=6)
    with torch.no_grad():
        draw = _draw_density if game.data.shape == (1,) else _draw_points
        draw(axes, inputs, _critic(game))


def _critic(game: Game) -> Callable[[Tensor], Tensor] | None:
    """Return the first critic of the game that judges single items, if it has one."""
    for network in game.children():
        if isinstance(network, Network):
            try:
                if network(torch.zeros(2, *game.data.shape)).shape == (2, 1):
                    return network
            except (RuntimeError, ValueError):  # it judges packs or pairs
                continue
    return None


def _draw_points(axes: Axes, inputs: RunInputs, critic: Callable[[Tensor], Tensor] | None) -> None:
    """Draw generated points over points of the law, and the critic's level lines."""
    real = inputs.real("test", POINTS)
    low, high = real.min(0).values, real.max(0).values
    margin = 0.25 * (high - low)
    xs, ys = (torch.linspace(float(a), float(b), GRID) for a, b in zip(low - margin, high + margin, strict=True))
    points = torch.cartesian_prod(xs, ys)
    if critic is not None:
        field = critic(points).reshape(GRID, GRID).T
        axes.contour(xs, ys, field, levels=8, colors=CRITIC, linewidths=0.4, alpha=0.6)
    axes.scatter(real[:, 0], real[:, 1], s=2, color=REAL, alpha=0.5, linewidths=0)
    fake = inputs.fake(POINTS)
    axes.scatter(fake[:, 0], fake[:, 1], s=2, color=FAKE, alpha=0.5, linewidths=0)
    axes.set_xlim(float(xs[0]), float(xs[-1]))
    axes.set_ylim(float(ys[0]), float(ys[-1]))
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_density(axes: Axes, inputs: RunInputs, critic: Callable[[Tensor], Tensor] | None) -> None:
    """Draw the law's density, the generator's by grid masses, and the critic's output beside its optimum."""
    from ganbench.metrics.densities import bin_masses, push_forward

    low, high = (float(q) for q in inputs.distribution.quantile(torch.tensor([0.001, 0.99], dtype=torch.float64)))
    margin = 0.25 * (high - low)
    edges = torch.linspace(low - margin, high + margin, BINS + 1, dtype=torch.float64)
    middles, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    law = inputs.distribution.cdf(edges).diff() / width
    values, masses = push_forward(inputs, CELLS)
    model = bin_masses(values, masses, edges)[0] / width
    axes.fill_between(middles, law, color=REAL, alpha=0.4, linewidth=0)
    axes.plot(middles, model, color=FAKE, linewidth=1)
    axes.set_ylim(0, 2 * float(law.max()))
    if critic is not None:
        right = axes.twinx()
        right.plot(middles, critic(middles[:, None].float()), color=CRITIC, linewidth=0.8)
        # A logistic critic tends to the log ratio of the densities, where both are there.
        right.plot(middles, (law / model).log().where((law > 0) & (model > 0), torch.nan), ":", color=CRITIC)
        right.set_ylim(-6, 6)
        right.tick_params(labelsize=6)
