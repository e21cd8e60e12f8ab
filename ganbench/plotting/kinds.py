"""Pictures of runs on images and on sequences of frames: which kinds there are, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ganbench.errors import UserError
from ganbench.evaluation.grid import png
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import real_data
from ganbench.plotting import panels
from ganbench.plotting.canvas import Panel, gif, sheet
from ganbench.records import write_whole
from ganbench.runs.folder import Status, restore
from ganbench.suites.spec import read_spec

Drawing = Callable[[RunInputs], list[Panel]]


def read_run(folder: Path, data_root: str | None = None, download: bool = True) -> RunInputs:
    """Return what can be asked about a run; UserError if it diverged."""
    spec, status = read_spec(folder), Status.read(folder)
    if status is not None and status.state == "diverged":
        raise UserError(f"'{folder}' cannot be drawn: the run diverged ({status.reason})")
    known = real_data(spec.dataset, data_root, download)
    return RunInputs(restore(spec, known.data, folder), spec, known)


def first_seeds(folders: Sequence[Path]) -> list[Path]:
    """Return of runs that differ by their seed alone the first one."""
    firsts: dict[str, tuple[int, Path]] = {}
    for folder in folders:
        spec = read_spec(folder)
        key = replace(spec, seed=0).hash
        firsts[key] = min(firsts.get(key, (spec.seed, folder)), (spec.seed, folder))
    return [folder for _, folder in firsts.values()]


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Args:
        draw: what makes its blocks.
        needs: methods that the game must have.
        axes: numbers of axes of the data that it can show: 3 for images, 4 for sequences.
        obstacle: why a game with these methods still cannot be drawn, "" if it can.
        film: what makes the block of each frame of a GIF, if there is one.
    """

    draw: Drawing
    needs: tuple[str, ...] = ()
    axes: tuple[int, ...] = (3,)
    obstacle: Callable[[RunInputs], str] = lambda inputs: ""
    film: Drawing | None = None


KINDS = {
    "clusters": Kind(panels.clusters, ("cluster",)),
    "reconstructions": Kind(panels.reconstructions, ("reconstruct",), (3, 4)),
    "interpolations": Kind(panels.interpolations, ("encode", "decode")),
    "manifold": Kind(panels.manifold, obstacle=panels.no_manifold),
    "traversal": Kind(panels.traversal, obstacle=panels.no_traversal),
    "arithmetic": Kind(panels.arithmetic, ("encode", "decode"), obstacle=panels.no_arithmetic),
    "strips": Kind(panels.strips, (), (4,)),
    "analogy": Kind(panels.analogy, ("transfer",), (4,)),
    "extrapolation": Kind(panels.extrapolation, ("extrapolate",), (4,), film=panels.extrapolation_film),
}


def obstacle(kind: str, inputs: RunInputs) -> str:
    """Return why a kind of picture cannot be drawn of a run, "" if it can."""
    chosen, game = KINDS[kind], inputs.game
    if len(game.data.shape) not in chosen.axes:
        return f"{game.data.name} has no {'sequences of frames' if 4 in chosen.axes else 'single images'}"
    lacking = [name for name in chosen.needs if not callable(getattr(game, name, None))]
    return f"it has no {lacking[0]}" if lacking else chosen.obstacle(inputs)


def _titled(inputs: RunInputs, blocks: list[Panel]) -> Iterator[Panel]:
    spec = inputs.spec
    caption = f"{spec.model}, {spec.dataset}, {spec.suite}/{spec.budget}, {spec.rounds:,} rounds"
    return (replace(block, title=f"{caption}: {block.title}") for block in blocks)


def draw_kind(kind: str, runs: Sequence[RunInputs], path: Path) -> None:
    """Draw the blocks of runs one below another: a film if the path ends in .gif, else a PNG."""
    for run in runs:
        if reason := obstacle(kind, run):
            raise UserError(f"{run.spec.model} cannot draw {kind}: {reason}")
    chosen = KINDS[kind]
    if path.suffix != ".gif":
        blocks = [block for run in runs for block in _titled(run, chosen.draw(run))]
        write_whole(path, png(sheet(blocks)))
    elif chosen.film is None:
        raise UserError(f"{kind} cannot be drawn as a film; give a file that ends in .png")
    else:
        frames = zip(*[_titled(run, chosen.film(run)) for run in runs], strict=True)
        write_whole(path, gif(sheet(blocks) for blocks in frames))


def draw_run(run: RunInputs, folder: Path, kind: str = "") -> list[Path]:
    """Draw one kind of picture into a run's folder, or all kinds that the run has."""
    kinds = [kind] if kind else [name for name in KINDS if not obstacle(name, run)]
    if not kinds:
        raise UserError(f"{run.spec.model} on {run.spec.dataset} has nothing to draw")
    paths = []
    for name in kinds:
        for suffix in (".png", ".gif") if KINDS[name].film else (".png",):
            paths.append(folder / f"{name}{suffix}")
            draw_kind(name, [run], paths[-1])
    return paths
