"""Pictures of how runs went: what is drawn, and for what there is no picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganbench import datasets
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData
from ganbench.plotting.trajectory import STRIP, draw_figure, draw_trajectory, read_trajectory
from ganbench.runs.folder import restore, snapshot, snapshot_rounds
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite
from ganbench.training.loop import train

TEXT = """
name = "drawn"
version = 1
summary = "one model in one and two dimensions"
datasets = ["ring", "two-gaussians-1d"]
metrics = ["w1"]

[backbone]
kind = "mlp"
generator = [8]
critic = [8]
generator_norm = "none"

[budgets.quick]
rounds = 9
seeds = 2
batch = 16
samples = 300
snapshots = 3

[settings]
"*.latent" = 1
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[RunSpec]]]:
    """Return runs of gan and pacgan on both datasets."""
    out = tmp_path_factory.mktemp("drawn")
    (out / "drawn.toml").write_text(TEXT, encoding="utf-8")
    suite = read_suite(str(out / "drawn.toml"))
    runs = {}
    for name in suite.datasets:
        for model, specs in expand(suite, "quick", ["gan", "pacgan-2"], dataset=name).items():
            train(specs, datasets.load(name), out)
            runs[f"{model} on {name}"] = specs
    return out, runs


def test_snapshots_are_the_weights_of_their_round(made) -> None:
    out, runs = made
    spec = runs["gan on ring"][1]
    data, folder = datasets.load("ring"), spec.folder(out)
    assert snapshot_rounds(spec) == [0, 3, 6, 9]
    assert all(snapshot(folder, round_).exists() for round_ in (0, 3, 6, 9))
    games = [restore(spec, data, folder, round_) for round_ in (0, 3, 9)] + [restore(spec, data, folder)]
    first, third, ninth, last = ({n: p.detach() for n, p in game.named_parameters()} for game in games)
    assert all(torch.equal(ninth[n], last[n]) for n in last)
    assert any(not torch.equal(third[n], last[n]) for n in last)
    half = expand(read_suite(str(out / "drawn.toml")), "quick", ["gan"], dataset="ring")["gan"]
    fresh = restore(half[1], data, folder, 0)
    assert all(torch.equal(first[n], p) for n, p in fresh.named_parameters())


def test_a_broken_off_run_keeps_the_same_snapshots(made, tmp_path: Path) -> None:
    out, runs = made
    specs, data = runs["gan on ring"], datasets.load("ring")
    train(specs, data, tmp_path, stop_after=5)
    train(specs, data, tmp_path)
    for spec in specs:
        for round_ in snapshot_rounds(spec):
            straight, resumed = (snapshot(spec.folder(root), round_).read_bytes() for root in (out, tmp_path))
            assert straight == resumed


@pytest.mark.parametrize("run", ["gan on ring", "gan on two-gaussians-1d", "pacgan-2 on ring"])
def test_a_course_is_a_strip_and_a_film(made, run: str) -> None:
    out, runs = made
    course = read_trajectory(runs[run][0].folder(out))
    strip, film = draw_trajectory(course)
    assert (strip.name, film.name) == ("training.png", "training.gif")
    with Image.open(strip) as picture:
        assert picture.width > 4 * picture.height and np.asarray(picture.convert("RGB")).std() > 5
    with Image.open(film) as picture:
        assert picture.n_frames == 4
        frames = []
        for index in range(4):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
        assert np.abs(frames[0] - frames[3]).mean() > 0.1


def test_a_figure_has_a_row_for_each_model_and_dataset(made, tmp_path: Path) -> None:
    out, runs = made
    courses = [read_trajectory(spec.folder(out)) for specs in runs.values() for spec in specs]
    draw_figure(courses[:2], tmp_path / "one.png")
    draw_figure(courses, tmp_path / "four.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "four.png") as four:
        assert one.width == four.width and 3.2 < four.height / one.height < 4.2
    assert STRIP > 4  # more places than snapshots: some stand twice


def test_what_cannot_be_drawn_says_why(made, finished: Path, ganbench: Callable) -> None:
    folder = next(finished.glob("*/gan/*/spec.json")).parent
    with pytest.raises(UserError, match="kept no snapshots; run a suite whose budget has them"):
        read_trajectory(folder)
    answer = ganbench("plot", finished, "--kind", "training")
    assert answer.code == 2 and "kept no snapshots" in answer.err


def test_the_command_draws_one_figure_in_the_order_asked_for(made, tmp_path: Path, ganbench: Callable) -> None:
    out, _ = made
    answer = ganbench("plot", out / "drawn", "--out", tmp_path / "f.png", "--models", "pacgan-2,gan")
    assert answer.code == 0, answer.err
    assert answer.out.strip() == str(tmp_path / "f.png") and (tmp_path / "f.png").stat().st_size > 1000


def test_points_of_a_run_do_not_depend_on_the_picture(made) -> None:
    out, runs = made
    spec, data = runs["gan on ring"][0], datasets.load("ring")
    game = restore(spec, data, spec.folder(out))
    one, other = (RunInputs(game, spec, RealData(data)).fake(n) for n in (100, 2000))
    assert torch.equal(one, other[:100])
