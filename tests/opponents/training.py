"""How fast training is beside its opponents, in paired runs: `python -m tests.opponents.training`.

The opponents are the loop of public scripts (see `public_script`) on the same images, widths and batch, and
our own eager step taken for one seed after another.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.precision import float32_arithmetic
from ganbench.runs.folder import build
from ganbench.suites.spec import RunSpec
from ganbench.training.stack import Stack
from tests.opponents import public_script, table
from tests.opponents.table import Comparison

BATCH = 64
PUBLIC = {
    "kind": "mlp",
    "generator": [128, 256, 512, 1024],
    "critic": [512, 256],
    "generator_activation": "leaky-relu",
}
SMALL = {"kind": "mlp", "generator": [128, 128], "critic": [128, 128]}
DCGAN = {"kind": "conv", "width": 64, "critic_norm": True}
SPEC = RunSpec("speed", 1, "speed", "", "gan", {}, {}, 0, 100_000, BATCH, 0.0, 1)


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

    def steps(self) -> Callable[[int], None]:
        """Return a function that plays so many rounds."""
        stack = self.stack()

        def play(count: int) -> None:
            with float32_arithmetic(self.precision == "tf32"):
                for _ in range(count):
                    stack.train_round()

        return play

    def operations(self) -> float:
        """Return the floating-point operations of one round of one seed."""
        stack = replace(self, seeds=1, engine="eager", precision="float32").stack()
        with FlopCounterMode(display=False) as counter:
            stack.train_round()
        return float(counter.get_total_flops())


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


Steps = Callable[[], Callable[[int], None]]
"() -> function that takes so many steps of one seed and returns when they are done"


def compare(name: str, ours: Ours, opponent: Steps, target: float, steps: int, each: bool = True) -> Comparison:
    """Return a comparison of the seconds that some rounds of play take.

    Args:
        name: of the row.
        ours: our side.
        opponent: the other side, one seed at a time.
        target: ratio that is aimed at, 0 if none.
        steps: rounds per timing.
        each: whether the opponent's time is that of one seed, or of as many as ours one after another.
    """
    device = str(ours.data.images["train"].device)
    dtype = torch.bfloat16 if ours.precision == "bf16" else torch.float32
    peak = table.convolution_peak if ours.backbone["kind"] == "conv" else table.product_peak
    share = "" if each or ours.seeds == 1 else f"; the time of one seed alone is multiplied by {ours.seeds}"
    mine, other = cache(ours.steps), cache(opponent)  # made when the row is measured
    return Comparison(
        name,
        lambda: mine()(steps),
        lambda: other()(steps),
        target=target,
        scale=1.0 if each else ours.seeds,
        work=0.0
        if ours.precision == "tf32"
        else ours.operations() * ours.seeds * steps,  # its peak is not measured
        speed=partial(peak, dtype, device=device),
        note=f"{steps} rounds of {BATCH} images per seed{share}",
    )


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

    def dense() -> Callable[[int], None]:
        generator = public_script.dense(public_script.LATENT, PUBLIC["generator"], (1, 28, 28))
        critic = public_script.dense_critic((1, 28, 28), PUBLIC["critic"])
        return public_script.Script(images, generator, critic, BATCH, device).steps

    def convolutional() -> Callable[[int], None]:
        return public_script.Script(images, *public_script.convolutional(DCGAN["width"]), BATCH, device).steps

    return {"MLP": dense, "DCGAN-28": convolutional}


def comparisons(device: str, quick: bool, only: str = "") -> list[Comparison]:
    """Return the rows for a device whose name contains a text; on a CPU those of five seeds only run."""
    cuda = device == "cuda"
    fast = "graph" if cuda else "compiled"
    data = (noise_images("random-28", 640, 1, 28, 28) if quick else mnist()).to(device)
    public = scripts(data.images["train"].cpu(), device)
    mlp, conv = Ours(data, PUBLIC), Ours(data, DCGAN)
    few, many = (2, 2) if quick else (200, 1000) if cuda else (60, 200)
    out = []

    def add(name: str, *arguments: Any, **options: Any) -> None:
        if only in name:
            out.append(compare(name, *arguments, **options))

    for precision, target in (("float32", 2.0), ("bf16", 2.5)):
        for engine in ("eager", fast):
            ours = replace(mlp, precision=precision, engine=engine)
            name = f"MLP, {precision}, {engine}, against the public loop"
            add(name, ours, public["MLP"], 0 if cuda else target, few)
        ours = replace(conv, precision=precision)
        name = f"DCGAN-28, {precision}, eager, against the public loop"
        add(name, ours, public["DCGAN-28"], 0, few if cuda else 3)
    for precision in ("float32", "tf32", "bf16") if cuda else ("float32",):
        for net, ours, target, count in (("MLP", mlp, 10, few), ("DCGAN-28", conv, 5, few if cuda else 1)):
            five = replace(ours, seeds=5, precision=precision, engine=fast if cuda else "eager")
            name = f"{net}, {precision}, {five.engine}, 5 seeds in the time of the public loop's one"
            add(name, five, public[net], target if cuda else 0, count)
    five = replace(mlp, seeds=5, engine=fast if cuda else "eager")
    alone = replace(five, seeds=1).steps
    add(f"MLP, {five.engine}, 5 seeds in the time of 1", five, alone, 1 / 1.5 if cuda else 0, few)
    digits, points = datasets.load("digits").to(device), noise_images("points", 10_000, 2).to(device)
    for net, small in (("8x8 digits", Ours(digits, SMALL)), ("2-D points", Ours(points, SMALL))):
        for precision, engine in (("float32", "eager"), ("float32", fast), ("bf16", fast)):
            ours = replace(small, seeds=3 if quick else 16, engine=engine, precision=precision)
            name = f"{net}, {precision}, {engine}, {ours.seeds} seeds stacked, against one by one in float32"
            add(name, ours, small.steps, 10, many, each=False)
    return out


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.opponents.training", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed pairs of each comparison")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="few rounds, one pair: shows that all of it works")
    parser.add_argument("--out", type=Path, help="folder for the table and its raw rows")
    chosen = parser.parse_args(arguments)
    measured, page = [], ""
    for comparison in comparisons(chosen.device, chosen.quick, chosen.only):
        measured.append(table.measure(comparison, 1 if chosen.quick else chosen.repeats))
        print(f"{measured[-1].ratio:8.2f} x  {comparison.name}", flush=True)
        page = table.markdown(f"Training on {chosen.device} against its opponents", measured)
        if chosen.out:
            table.write(chosen.out, f"training-{chosen.device}", page, table.rows(measured))
    print("\n" + page)


if __name__ == "__main__":
    main()
