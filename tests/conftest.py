"""Shared by all tests: one thread for torch, a tiny dataset of noise, the command line and finished runs."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from ganbench import registry
from ganbench.cli.app import main
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from tests.builders import forgotten


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Use one thread: on busy cores the threads of small networks mostly wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def real_files(request: pytest.FixtureRequest) -> None:
    """Skip what needs real files where there are none."""
    if request.node.get_closest_marker("data") and not os.environ.get("GANBENCH_DATA"):
        pytest.skip("GANBENCH_DATA names no folder of real files")


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Dataset]:
    """Return a maker of datasets of random uint8 images, or sequences of frames, with random labels."""

    def make(channels: int = 1, size: int = 8, n: int = 64, frames: int = 0) -> Dataset:
        generator = torch.Generator().manual_seed(channels * 1000 + size)
        splits = ("train", "validation", "test")
        shape = (n, *([frames] if frames else []), channels, size, size)
        images = {s: torch.randint(256, shape, dtype=torch.uint8, generator=generator) for s in splits}
        labels = {s: torch.randint(4, (n,), generator=generator) for s in splits}
        return Dataset(f"tiny-{channels}x{size}", images, labels, classes=4)

    return make


@pytest.fixture(scope="session")
def tiny_for(tiny: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Return a maker of tiny images, or of sequences for a model that plays on nothing else."""

    @cache
    def frames(name: str) -> int:
        model = registry.models.get(name)
        settings = model.settings({"kind": "mlp", "generator": [12], "critic": [10]})
        try:
            model.build(tiny().data_spec, settings, 0)
        except UserError as error:
            assert "needs sequences" in str(error)
            return 4
        return 0

    def make(name: str, channels: int = 1) -> Dataset:
        return tiny(channels, frames=frames(name))

    return make


TINY = """
name = "tiny"
version = 1
summary = "two small models and a reference on digits"
datasets = ["digits"]
metrics = ["fid@mlp-digits-v1", "reconstruction-mse", "authenticity"]
models = ["gan", "vae", "real-train"]

[backbone]
kind = "mlp"
generator = [16]
critic = [16]

[budgets.quick]
rounds = 20
seeds = 2
batch = 50
samples = 200
"""


class Answer(NamedTuple):
    """What a command line gave back."""

    code: int
    out: str
    err: str


def ganbench(*arguments: object) -> Answer:
    """Call the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["ganbench", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        return Answer(int(stop.code or 0), out.getvalue(), err.getvalue())
    finally:
        sys.argv = before
    raise AssertionError("main() must end by sys.exit")


@pytest.fixture(name="ganbench", scope="session")
def ganbench_() -> Callable[..., Answer]:
    """Return the function that calls the command line in this process."""
    return ganbench


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a suite that takes seconds."""
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all runs of the tiny suite; tests must not write to it."""
    out = tmp_path_factory.mktemp("finished")
    answer = ganbench("run", "--suite", suite, "--out", out, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "trained 6 of 6 runs, measured 6" in answer.out
    return out


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished runs to damage."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the compiled engine play its trace operation by operation: a compiler takes long."""
    monkeypatch.setattr(torch, "compile", lambda trace, **options: trace)


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Forget what a test registers."""
    with forgotten():
        yield


def scores(out: Path) -> dict[str, str]:
    """Return the text of every score file by model and run, without commit and seconds, which may change."""
    return {
        str(path.parent.relative_to(out)): re.sub(
            r",[^,\n]+(,\d+,ganbench [\d.]+)( [0-9a-f]{10}(-dirty)?)?", r"\1", path.read_text(encoding="utf-8")
        )
        for path in out.glob("*/*/*/scores.csv")
    }


@pytest.fixture(name="scores", scope="session")
def scores_() -> Callable[[Path], dict[str, str]]:
    """Return the function that reads all score files of a runs folder."""
    return scores
