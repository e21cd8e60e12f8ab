"""The pieces in their order: each a command of its own that writes its result into the output folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganbench.suites.suite import suite_files

TESTS = Path(__file__).parents[1]
OPPONENTS = ("MLP", "DCGAN-28", "8x8 digits", "2-D points")  # how the rows of the opponents' table begin


@dataclass(frozen=True)
class Piece:
    """One command.

    Args:
        name: unique.
        command: what follows the interpreter.
        resumable: whether the same command goes on where it was broken off.
    """

    name: str
    command: tuple[str, ...]
    resumable: bool = False


@dataclass(frozen=True)
class Training:
    """What of a suite is trained and measured; no models are all of the suite's."""

    suite: str
    budget: str
    dataset: str
    models: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    "of the noise images that stand for the dataset in a rehearsal; () keeps the dataset"

    @property
    def name(self) -> str:
        """Unique name."""
        return f"suite {self.suite} {self.budget}"


TRAININGS = (
    Training("digits", "standard", "digits"),
    Training("mnist", "standard", "mnist", (), (28, 28, 1)),
    Training(
        "clustering-30",
        "paper",
        "mnist",
        ("graphical-gan-mixture-2018", "graphical-gan-mixture-global-2018", "gmvae-2016"),
        (28, 28, 1),
    ),
    Training("stacked-mnist", "standard", "stacked-mnist", ("gan",), (28, 28, 3)),
    Training("cifar10", "standard", "cifar10", (), (32, 32, 3)),
    Training("cifar10", "paper", "cifar10", (), (32, 32, 3)),
)


def pieces(out: Path, device: str, tiny: bool) -> list[Piece]:
    """Return all pieces, the short ones first.

    Args:
        out: folder of the results, absolute.
        device: cpu or cuda.
        tiny: whether everything is a rehearsal: few rounds, noise images, few models.
    """
    small = ("--tiny",) if tiny else ()
    on = ("--device", device)

    def check(name: str, *options: str) -> Piece:
        return Piece(f"check {name}", ("-m", "tests.gpu.checks", name, *options, "--out", f"{out}/{name}.json"))

    digits, *trainings = [
        Piece(t.name, ("-m", "ganbench.cli", "run", *_options(t, out, tiny), *on, "--out", f"{out}/runs"), True)
        for t in TRAININGS
    ]
    return [
        *_tests(out),
        check("waits", *on, *small),
        check("repeats", *on, *small),
        *_opponents(out, device, tiny),
        Piece("seeds", ("-m", "tests.gpu.seeds", *on, *small, "--out", f"{out}/seeds.json"), True),
        digits,
        check("scores", "--runs", f"{out}/runs/digits"),
        *trainings,
    ]


def _tests(out: Path) -> Iterator[Piece]:
    for path in sorted(TESTS.rglob("test_*.py")):
        if "@pytest.mark.gpu" in path.read_text(encoding="utf-8"):
            file = path.relative_to(TESTS.parent).as_posix()
            options = ("-q", "-m", "gpu", f"--junitxml={out}/tests/{path.stem}.xml")
            yield Piece(f"tests {path.stem}", ("-m", "pytest", file, *options))


def _opponents(out: Path, device: str, tiny: bool) -> Iterator[Piece]:
    for rows in ("MLP, float32, eager",) if tiny else OPPONENTS:
        net = rows.partition(",")[0]
        folder = f"{out}/opponents/{net.replace(' ', '-')}"
        options = ("--only", rows, "--out", folder, *(["--quick"] if tiny else []))
        yield Piece(f"opponents {net}", ("-m", "tests.opponents.training", "--device", device, *options))


def _options(training: Training, out: Path, tiny: bool) -> list[str]:
    """Return the options of `ganbench run`."""
    suite, dataset, models = training.suite, training.dataset, training.models
    if tiny:
        suite, dataset, models = *_shrunk(training, out), models or ("gan", "real-train")
    metrics = ["--metric", "precision@pixels"] if tiny else []
    chosen = ["--models", ",".join(models)] if models else []
    return ["--suite", suite, "--budget", training.budget, "--dataset", dataset, *chosen, *metrics]


def _shrunk(training: Training, out: Path) -> tuple[str, str]:
    """Write the suite with budgets of two rounds, and noise images; return the file and the dataset's name."""
    text = suite_files()[training.suite].read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(seeds|batch|samples|snapshots) = .*\n", "", text)
    text = re.sub(r"(?m)^rounds = .*", "rounds = 2\nseeds = 2\nbatch = 8\nsamples = 64", text)
    out.mkdir(parents=True, exist_ok=True)
    suite = out / f"{training.suite}.toml"
    suite.write_text(text, encoding="utf-8")
    if not training.shape:
        return str(suite), training.dataset
    noise = out / f"noise-{'x'.join(map(str, training.shape))}.npz"
    random, arrays = np.random.default_rng(0), {}
    for split in ("train", "validation", "test"):
        arrays[f"x_{split}"] = random.integers(256, size=(64, *training.shape), dtype=np.uint8)
        arrays[f"y_{split}"] = random.integers(10, size=64)
    np.savez(noise, **arrays)
    return str(suite), f"npz:{noise}"
