"""What the benchmarks share: names, devices, skipping, and the one place that builds a stack.

asv runs the benchmarks of the working tree against older commits, so they ask `ours` for what they take of it,
by its name of today, inside `skipping`. It also calls `setup` before every sample: what is slow is cached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
DEVICES = ["torch:cpu", "torch:cuda"]
WARM_UP = 3  # rounds: more than a boosted critic, a compiler or the first allocation needs
PLACES = {  # today's, then those of older commits
    "Batches": ("ganbench.training.batches:Batches", "ganbench.draws:Batches"),
    "Budget": ("ganbench.suites.suite:Budget", "ganbench.suite:Budget"),
    "Dataset": ("ganbench.datasets:Dataset",),
    "MNIST": ("ganbench.datasets.moving:MNIST",),
    "RealData": ("ganbench.evaluation.real:RealData", "ganbench.reference:Reference"),
    "RunInputs": ("ganbench.evaluation.inputs:RunInputs", "ganbench.evidence:RunEvidence"),
    "ScoreRow": ("ganbench.runs.scores:ScoreRow", "ganbench.record:ScoreRow"),
    "Stack": ("ganbench.training.stack:Stack", "ganbench.stack:Stack"),
    "aggregate": ("ganbench.reporting.leaderboard:aggregate", "ganbench.leaderboard:aggregate"),
    "build": ("ganbench.runs.folder:build", "ganbench.runs:build"),
    "choose_engine": ("ganbench.training.engines:choose_engine", "ganbench.speed:choose_engine"),
    "expand": ("ganbench.suites.expand:expand", "ganbench.suite:expand"),
    "load_dataset": ("ganbench.datasets:load",),
    "load_rows": ("ganbench.reporting.leaderboard:load_rows", "ganbench.leaderboard:load_rows"),
    "measure": ("ganbench.evaluation.measure:measure", "ganbench.measure:measure"),
    "read_suite": ("ganbench.suites.suite:read_suite", "ganbench.suite:read_suite"),
    "registry": ("ganbench:registry",),
    "stacks": ("ganbench.training.loop:stacks", "ganbench.train:stacks"),
    "train": ("ganbench.training.loop:train", "ganbench.train:train"),
    "write_rows": ("ganbench.runs.scores:write_rows", "ganbench.record:write_rows"),
}
NAMES = """
import json
from ganbench import registry
families = {}
for name in registry.models.names():
    game = registry.models.get(name).game
    if game.players:
        families.setdefault(game.__module__, name)
names = {"metrics": registry.metrics.names(), "datasets": registry.datasets.names()}
print(json.dumps({"models": list(families.values()), **names}))
"""
if "ASV_ENV_TYPE" not in os.environ:  # "existing": the working tree is meant, whatever else is installed
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)  # for the interpreters that benchmarks start


def ours(name: str) -> Any:
    """Return what ganbench calls by a name of PLACES, wherever the installed commit keeps it; else ImportError."""
    for place in PLACES[name]:
        module, _, attribute = place.partition(":")
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "?"):  # something that this module needs
                raise
            continue
        with suppress(AttributeError):
            return getattr(found, attribute)
    raise ImportError(f"this commit has none of {', '.join(PLACES[name])}")


# asv benchmarks fork from a process that has imported this file: without it each would wait for these imports.
with suppress(Exception):
    ours("train")
    ours("registry").models.load()
    ours("registry").metrics.load()


@cache
def names() -> dict[str, list[str]]:
    """Return one trained model of each baseline file, all metrics and all datasets.

    asv finds parameters by their position, so they are those of the working tree whichever commit is installed.
    """
    run = subprocess.run([sys.executable, "-c", NAMES], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@contextmanager
def skipping() -> Iterator[None]:
    """Let asv skip a benchmark, with the reason, whose subject the installed commit or the machine lacks."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ImportError | AttributeError) or type(error).__name__ == "UserError":
            raise NotImplementedError(f"{type(error).__name__}: {error}") from error
        raise


def torch_device(name: str) -> torch.device:
    """Return the device of "torch:cpu" or "torch:cuda"; skip if the machine has none."""
    device = torch.device(name.removeprefix("torch:"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NotImplementedError("no CUDA device")
    return device


def synchronise(device: str) -> None:
    """Wait until the device has done its work, so that the clock sees it."""
    if device == "torch:cuda":
        torch.cuda.synchronize()


@cache
def data(backbone: str, device: str) -> Any:
    """Return digits for "mlp", random images of MNIST's shape for "conv"."""
    if backbone == "mlp":
        return ours("load_dataset")("digits").to(torch_device(device))
    generator = torch.Generator().manual_seed(0)
    splits = ("train", "validation", "test")
    images = {s: torch.randint(256, (1000, 1, 28, 28), dtype=torch.uint8, generator=generator) for s in splits}
    return ours("Dataset")("random", images).to(torch_device(device))


def specs(backbone: str, model: str, seeds: int) -> list[Any]:
    """Return run specifications of a model on the digits networks, or on DCGAN's at a quarter of their width."""
    name, own = ("digits", []) if backbone == "mlp" else ("mnist-conv", [("*", "backbone.width", 16)])
    return ours("expand")(ours("read_suite")(name), "quick", [model], seeds, own)[model]


def engine(name: str, device: str) -> dict[str, str]:
    """Return the stack's argument for an engine, "auto" for the device's own; older commits have none."""
    try:
        choose_engine = ours("choose_engine")
    except ImportError:
        if name in ("auto", "eager"):
            return {}
        raise
    return {"engine": choose_engine(name, torch_device(device).type)}


def train_rounds(stack: Any, rounds: int) -> None:
    """Train a stack for some rounds."""
    train_round = stack.train_round if hasattr(stack, "train_round") else stack.play_round  # older commits
    for _ in range(rounds):
        train_round()


@cache
def stack(model: str, backbone: str, device: str, seeds: int = 1, speed: str = "auto") -> Any:
    """Return seeds of a model that have trained for a few rounds; skip what cannot be built.

    Args:
        model: registered name.
        backbone: "mlp" or "conv".
        device: one of DEVICES.
        seeds: how many.
        speed: engine, or "auto".
    """
    with skipping():
        runs, images = specs(backbone, model, seeds), data(backbone, device)
        games = [ours("build")(spec, images) for spec in runs]
        if ours("stacks")(games[0], torch.device("cpu")):
            torch.set_num_threads(1)  # as training does
        seed_numbers, own = [spec.seed for spec in runs], engine(speed, device)
        made = ours("Stack")(games, seed_numbers, images, model, runs[0].batch, runs[0].rounds, **own)
        train_rounds(made, WARM_UP)
    synchronise(device)
    return made


@cache
def untrained(model: str, device: str, suite: str = "digits") -> tuple[Any, Any, Any]:
    """Return game, specification and real data of a model of a suite that needs no files."""
    with skipping():
        read = ours("read_suite")(suite)
        images = ours("load_dataset")(read.datasets[-1]).to(torch_device(device))
        spec = ours("expand")(read, "quick", [model], 1, dataset=images.name)[model][0]
        return ours("build")(spec, images).to(torch_device(device)).eval(), spec, ours("RealData")(images)


def metric_inputs(model: str, device: str, suite: str = "digits") -> Any:
    """Return what metrics may ask about an untrained model; a new one has kept nothing yet."""
    with skipping():
        return ours("RunInputs")(*untrained(model, device, suite))
