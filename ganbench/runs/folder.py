"""The folder of a run: its game, its status and its files. Training writes it, measuring reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.game.contract import Game
from ganbench.game.model import Model
from ganbench.records import seed_stream, write_whole
from ganbench.runs.code import code_of
from ganbench.suites.spec import RunSpec, read_spec, write_spec


@dataclass(frozen=True)
class Status:
    """What became of a run; written last, so that its presence says that the folder is complete."""

    state: str
    round: int
    reason: str = ""
    seconds: float = 0.0
    images_per_second: float = 0.0
    device: str = ""
    engine: str = ""
    gpu_bytes: int = 0
    "largest memory that tensors took on the GPU, of all seeds stepped together"
    code: str = ""
    "hash of the code that the numbers hang on: other code is another model"
    plugin: str = ""
    "file that defines the model, if no package does"
    data: str = ""
    "hash of the images of all splits"
    torch: str = torch.__version__

    @staticmethod
    def read(folder: Path) -> Status | None:
        """Return the status of a run folder, None if the run is not finished."""
        try:
            return Status(**json.loads((folder / "status.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None


def pending(specs: Sequence[RunSpec], out: Path, data: str = "") -> list[RunSpec]:
    """Return the runs that have not come to an end with the model's present code and, if given, this data hash."""

    def ended(spec: RunSpec) -> bool:
        status = Status.read(spec.folder(out))
        same = status is not None and status.code == code_of(spec) and data in ("", status.data)
        return same and read_spec(spec.folder(out)).agrees(spec)  # a default may have changed

    return [spec for spec in specs if not ended(spec)]


def load_plugin_of(folder: Path) -> None:
    """Load the plug-in that a run was trained with, unless its model is known; UserError if the file is gone."""
    spec, status = read_spec(folder), Status.read(folder)
    if status is None or not status.plugin or spec.model in registry.models.names():
        return
    if not Path(status.plugin).is_file():
        raise UserError(
            f"'{folder}' was trained with the plug-in '{status.plugin}', which is gone; give its place by --plugin"
        )
    registry.load_plugin(status.plugin)


def build(spec: RunSpec, data: Dataset) -> Game:
    """Return the game of a run with its initial weights."""
    model: Model = registry.models.get(spec.model)
    return model.build(data.data_spec, spec.settings, seed_stream(data.name, spec.model, spec.seed, "init"))


def write_run(spec: RunSpec, out: Path, weights: Mapping[str, Tensor], log: str, status: Status) -> None:
    """Write the folder of a run that has come to an end, the status last."""
    folder = spec.folder(out)
    for pattern in ("status.json", "scores.csv", "*.png", "*.gif"):  # of a run with other code or data
        for old in folder.glob(pattern):
            old.unlink()
    write_whole(folder / "spec.json", write_spec(spec))
    write_whole(folder / "log.csv", log)
    write_whole(folder / "weights.safetensors", save_tensors(dict(weights)))
    write_whole(folder / "status.json", json.dumps(asdict(status), indent=1) + "\n")


def snapshot_rounds(spec: RunSpec) -> list[int]:
    """Return the rounds before which the weights are kept for pictures; the last one is after all rounds."""
    return sorted({spec.rounds * i // spec.snapshots for i in range(spec.snapshots + 1)}) if spec.snapshots else []


def snapshot(folder: Path, round_: int) -> Path:
    """Return the file of the weights that a run had before a round."""
    return folder / "snapshots" / f"{round_}.safetensors"


def write_snapshot(folder: Path, round_: int, weights: Mapping[str, Tensor]) -> None:
    """Keep the weights that a run has before a round."""
    write_whole(snapshot(folder, round_), save_tensors(dict(weights)))


def load(game: Game, weights: Mapping[str, Tensor]) -> None:
    """Give a freshly built game its weights, and buffers of their shape."""
    for name, buffer in game.named_buffers():  # what is fitted may hold fewer items than planned
        if name in weights and weights[name].shape != buffer.shape:
            owner, _, last = name.rpartition(".")
            setattr(game.get_submodule(owner), last, torch.empty_like(weights[name]))
    game.load_state_dict(weights)


def restore(spec: RunSpec, data: Dataset, folder: Path, round_: int | None = None) -> Game:
    """Return the trained game of a run, in eval mode, or as it was before a round of which a snapshot is kept.

    UserError if the weights are damaged or do not fit.
    """
    status = Status.read(folder)
    if status is not None and status.code != code_of(spec):
        where = f" in '{status.plugin}'" if status.plugin else ""
        raise UserError(
            f"the code of {spec.model}{where} has changed since '{folder}' was trained; train it again"
        )
    game = build(spec, data)
    try:
        load(game, load_file(folder / "weights.safetensors" if round_ is None else snapshot(folder, round_)))
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"weights in '{folder}' are damaged ({reason}); delete the folder to train anew"
        ) from error
    return game.to(data.images["train"].device).eval()
