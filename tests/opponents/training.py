"""How fast training is beside its opponents, in paired runs: `python -m tests.opponents.training`.

The opponents are the loop of public scripts (see `public_script`) on the same images, widths and batch, and
our own eager step taken for one seed after another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.registry import UserError
from ganbench.runs import build
from ganbench.speed import float32_arithmetic
from ganbench.stack import Stack
from ganbench.suite import RunSpec
from tests.opponents import public_script
from tests.opponents.table import Pair, command

BATCH = 64
PUBLIC = {
    "kind": "mlp",
    "generator": [128, 256, 512, 1024],
    "critic": [512, 256],
    "generator_activation": "leaky-relu",
}
SMALL = {"kind": "mlp", "generator": [128, 128], "critic": [128, 128]}
DCGAN = {"kind": "conv", "width": 64, "critic_norm": True}
SPEC = RunSpec("speed", 1, "speed", "", "gan", {}, 0, 100_000, BATCH, 0.0, 1)


@dataclass(frozen=True)
class Ours:
    """One way to train: data, networks, seeds, arithmetic and engine."""

    data: Dataset
    backbone: dict
    seeds: int = 1
    engine: str = "eager"
    precision: str = "float32"

    def stack(self) -> Stack:
        """Return the seeds, ready to play."""
        spec = replace(SPEC, dataset=self.data.name, settings=registry.models.get("gan").settings(self.backbone))
        games = [build(replace(spec, seed=seed), self.data) for seed in range(self.seeds)]
        bf16 = self.precision == "bf16"
        seeds = list(range(self.seeds))
        return Stack(games, seeds, self.data, "gan", BATCH, spec.rounds, bf16=bf16, engine=self.engine)

    def steps(self) -> Callable[[int], float]:
        """Return a function that plays so many rounds and returns the seconds that they took."""
        stack = self.stack()

        def play(count: int) -> float:
            with float32_arithmetic(self.precision):
                _wait(stack.device)
                began = time.perf_counter()
                for _ in range(count):
                    losses = stack.play_round()
                sum(loss.sum() for loss in losses.values()).item()
                return time.perf_counter() - began

        return play

    def operations(self) -> float:
        """Return the floating-point operations of one round of one seed."""
        stack = replace(self, seeds=1, engine="eager", precision="float32").stack()
        with FlopCounterMode(display=False) as counter:
            stack.play_round()
        return float(counter.get_total_flops())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


Steps = Callable[[], Callable[[int], float]]
"() -> function that takes so many steps of one seed and returns the seconds they took"


def pair(what: str, ours: Ours, opponent: Steps, target: float, steps: int, per_seed: bool = True) -> Pair:
    """Return a comparison in images per second.

    Args:
        what: name of the row.
        ours: our side.
        opponent: the other side, one seed at a time.
        target: least ratio asked for, NaN if none.
        steps: per timing.
        per_seed: whether our images of one seed count, or those of all seeds together.
    """
    images = BATCH * (1 if per_seed else ours.seeds)
    share = ours.seeds if per_seed else 1

    def start() -> tuple[Callable[[], float], Callable[[], float]]:
        mine, other = ours.steps(), opponent()
        mine(5), other(5)  # compile, capture, fill caches
        return lambda: images * steps / mine(steps), lambda: BATCH * steps / other(steps)

    device = ours.data.images["train"].device
    dtype = torch.bfloat16 if ours.precision == "bf16" else torch.float32
    return Pair(
        what,
        "images/s",
        start,
        target,
        limit=lambda: peak(device, dtype) / (ours.operations() * share / BATCH),
        higher=True,
    )


def peak(device: torch.device, dtype: torch.dtype, size: int = 2048) -> float:
    """Return the floating-point operations per second of a large matrix product."""
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(8):
        _wait(device)
        began = time.perf_counter()
        a @ a
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def noise_images(name: str, n: int, *shape: int) -> Dataset:
    """Return random images, for speed alone."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, *shape), dtype=torch.uint8, generator=generator)
    return Dataset(name, {split: images for split in ("train", "validation", "test")})


def mnist() -> Dataset:
    """Return MNIST if its files are there, otherwise random images of its size."""
    try:
        return datasets.load("mnist", None, download=False)
    except UserError:
        return noise_images("random-28", 60_000, 1, 28, 28)


def scripts(images: Tensor, device: str) -> dict[str, Steps]:
    """Return the public loop for each of our backbones."""

    def dense() -> Callable[[int], float]:
        generator = public_script.dense(public_script.LATENT, PUBLIC["generator"], (1, 28, 28))
        critic = public_script.dense_critic((1, 28, 28), PUBLIC["critic"])
        return public_script.Script(images, generator, critic, BATCH, device).steps

    def convolutional() -> Callable[[int], float]:
        return public_script.Script(images, *public_script.convolutional(DCGAN["width"]), BATCH, device).steps

    return {"MLP": dense, "DCGAN-28": convolutional}


def pairs(device: str, quick: bool) -> list[Pair]:
    """Return the comparisons for a device; without a GPU, those of five seeds show only that they run."""
    cuda, none = device == "cuda", math.nan
    data = (noise_images("random-28", 640, 1, 28, 28) if quick else mnist()).to(device)
    public = scripts(data.images["train"].cpu(), device)
    mlp, conv = Ours(data, PUBLIC), Ours(data, DCGAN)
    few, many = (2, 2) if quick else (200, 1000) if cuda else (40, 200)
    out = []
    for precision, target in (("float32", none if cuda else 2.0), ("bf16", none if cuda else 2.5)):
        for engine in ("eager", "graph" if cuda else "compiled"):
            ours = replace(mlp, precision=precision, engine=engine)
            out.append(pair(f"MLP, {precision}, {engine}", ours, public["MLP"], target, few))
        ours = replace(conv, precision=precision)
        out.append(pair(f"DCGAN-28, {precision}, eager", ours, public["DCGAN-28"], none, few if cuda else 3))
    for precision in ("float32", "tf32", "bf16") if cuda else ("float32",):
        for name, target, count in (("MLP", 10.0, few), ("DCGAN-28", 5.0, few if cuda else 1)):
            five = replace(mlp if name == "MLP" else conv, seeds=5, precision=precision)
            five = replace(five, engine="graph" if cuda else "eager")
            what = f"{name}, {precision}, {five.engine}, 5 seeds, images of one"
            out.append(pair(what, five, public[name], target if cuda else none, count))
    five = replace(mlp, seeds=5, engine="graph" if cuda else "eager")
    alone = replace(five, seeds=1).steps
    out.append(pair("MLP, 5 seeds against 1", five, alone, 5 / 1.5 if cuda else none, few, per_seed=False))
    digits, points = datasets.load("digits").to(device), noise_images("points", 10_000, 2).to(device)
    for name, small in (("8x8 digits", Ours(digits, SMALL)), ("2-D points", Ours(points, SMALL))):
        fast = "graph" if cuda else "compiled"
        for precision, engine in (("float32", "eager"), ("float32", fast), ("bf16", fast)):
            ours = replace(small, seeds=3 if quick else 16, engine=engine, precision=precision)
            what = f"{name}, {precision}, {ours.seeds} seeds stacked, {engine}, against one by one"
            out.append(pair(what, ours, small.steps, 10.0, many, per_seed=False))
    return out


if __name__ == "__main__":
    command("training", pairs)
