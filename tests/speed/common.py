"""What the benchmarks share: names, devices, skipping, and the one place that builds a stack.

asv runs the benchmarks of the working tree against older commits, so what ganbench might lack there is imported
inside `skipping`, never at the top of a file. It also calls `setup` before every sample: what is slow is cached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
DEVICES = ["torch:cpu", "torch:cuda"]
WARM_UP = 3  # rounds: more than a boosted critic, a compiler or the first allocation needs
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
# asv benchmarks fork from a process that has imported this file: without it each would wait for these imports.
with suppress(Exception):
    from ganbench import registry
    from ganbench.training import loop  # noqa: F401

    registry.models.load()
    registry.metrics.load()


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
        from ganbench.errors import UserError
    except ImportError as error:
        raise NotImplementedError(str(error)) from error
    try:
        yield
    except (ImportError, AttributeError, UserError) as error:
        raise NotImplementedError(f"{type(error).__name__}: {error}") from error


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
    from ganbench import datasets

    if backbone == "mlp":
        return datasets.load("digits").to(torch_device(device))
    generator = torch.Generator().manual_seed(0)
    splits = ("train", "validation", "test")
    images = {s: torch.randint(256, (1000, 1, 28, 28), dtype=torch.uint8, generator=generator) for s in splits}
    return datasets.Dataset("random", images).to(torch_device(device))


def specs(backbone: str, model: str, seeds: int) -> list[Any]:
    """Return run specifications of a model on the digits networks, or on DCGAN's at a quarter of their width."""
    from ganbench.suites.expand import expand
    from ganbench.suites.suite import read_suite

    name, own = ("digits", []) if backbone == "mlp" else ("mnist-conv", [("*", "backbone.width", 16)])
    return expand(read_suite(name), "quick", [model], seeds, own)[model]


def engine(name: str, device: str) -> dict[str, str]:
    """Return the stack's argument for an engine, "auto" for the device's own; older commits have none."""
    try:
        from ganbench.training.engines import choose_engine
    except ImportError:
        if name in ("auto", "eager"):
            return {}
        raise
    return {"engine": choose_engine(name, torch_device(device).type)}


@cache
def stack(model: str, backbone: str, device: str, seeds: int = 1, speed: str = "auto") -> Any:
    """Return seeds of a model that have played a few rounds; skip what cannot be built.

    Args:
        model: registered name.
        backbone: "mlp" or "conv".
        device: one of DEVICES.
        seeds: how many.
        speed: engine, or "auto".
    """
    with skipping():
        from ganbench.runs.folder import build
        from ganbench.training.loop import stacks
        from ganbench.training.stack import Stack

        runs, images = specs(backbone, model, seeds), data(backbone, device)
        games = [build(spec, images) for spec in runs]
        if stacks(games[0], torch.device("cpu")):
            torch.set_num_threads(1)  # as training does
        seed_numbers, own = [spec.seed for spec in runs], engine(speed, device)
        made = Stack(games, seed_numbers, images, model, runs[0].batch, runs[0].rounds, **own)
        for _ in range(WARM_UP):
            made.train_round()
    synchronise(device)
    return made


@cache
def metric_inputs(model: str, device: str, suite: str = "digits") -> Any:
    """Return what metrics may ask about an untrained model of a suite that needs no files, digits by default."""
    with skipping():
        from ganbench import datasets
        from ganbench.evaluation.inputs import RunInputs
        from ganbench.evaluation.real import RealData
        from ganbench.runs.folder import build
        from ganbench.suites.expand import expand
        from ganbench.suites.suite import read_suite

        read = read_suite(suite)
        images = datasets.load(read.datasets[-1]).to(torch_device(device))
        spec = expand(read, "quick", [model], 1, dataset=images.name)[model][0]
        return RunInputs(build(spec, images).to(torch_device(device)).eval(), spec, RealData(images))
