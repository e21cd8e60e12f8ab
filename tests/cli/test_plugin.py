"""One dropped file is all that a new model or metric needs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganbench import registry
from ganbench.runs import code
from tests.builders import forgotten

PLUGIN = '''
"""A constant image: the smallest model there is."""

import torch

from ganbench.game import Config, Game, Player, Uniform
from ganbench.metrics import Metric, Score, register


class Grey(Game):
    """One learned grey image. Nobody 2020."""

    name = "grey"
    players = (Player("painter", nets=("level",)),)

    def __init__(self, data, config=Config()):
        super().__init__(data, config)
        self.level = torch.nn.Parameter(torch.zeros(data.shape))

    def noise(self):
        return {"jitter": Uniform(1)}

    def sample(self, noise):
        return self.level + 0.1 * noise["jitter"][:, :, None, None]

    def painter_loss(self, x, noise):
        return (x - self.sample(noise)).square().mean()


register(Metric(name="brightness", version=3, summary="mean pixel", ability="sample", better="higher",
                compute=lambda inputs, _: Score(inputs.fake().mean().item(), 0.0, 200, "200 images")))
'''


@pytest.fixture
def plugin(tmp_path: Path, clean_registry: None) -> Path:
    """Return the file of a plug-in with one model and one metric."""
    path = tmp_path / "elsewhere" / "grey.py"
    path.parent.mkdir()
    path.write_text(PLUGIN, encoding="utf-8")
    return path


@pytest.fixture
def brightness(suite: Path, tmp_path: Path) -> Path:
    """Return a suite that asks for the plug-in's metric."""
    path = tmp_path / "bright.toml"
    text = suite.read_text(encoding="utf-8").replace('"authenticity"]', '"brightness"]')
    path.write_text(text, encoding="utf-8")
    return path


def test_plugin_is_listed_only_where_it_is_asked_for(ganbench: Callable[..., Any], plugin: Path) -> None:
    assert "grey " not in ganbench("list", "models").out
    answer = ganbench("list", "models", "--plugin", plugin)
    assert answer.code == 0 and "One learned grey image. Nobody 2020." in answer.out
    assert "brightness" in ganbench("list", "metrics", "--plugin", plugin).out


@pytest.mark.parametrize("workers", [1, 2])
def test_plugin_stands_on_the_leaderboard(
    ganbench: Callable[..., Any], plugin: Path, brightness: Path, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "runs"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run = ("run", "--suite", brightness, "--out", out, "--device", "cpu", "--models", "grey")
    answer = ganbench(*run, "--plugin", plugin, "--workers", workers)
    assert answer.code == 0, answer.err
    board = ganbench("leaderboard", "--suite", brightness, "--out", out, "--format", "csv")
    lines = [line.split(",") for line in board.out.splitlines()]
    measured = {(line[lines[0].index("model")], line[lines[0].index("metric")]) for line in lines[1:]}
    assert {("grey", "brightness"), ("grey", "fid@mlp-digits-v1")} <= measured
    assert {path: path.read_bytes() for path in before} == before
    assert {path.parent.name for path in out.glob("tiny/*/*")} == {"grey"}


def test_plugin_trains_what_its_loss_says(
    ganbench: Callable[..., Any], plugin: Path, brightness: Path, tmp_path: Path
) -> None:
    """The mean digit pixel is 0.305: a constant image is drawn to it from 0.5."""
    settings = ("--set", "grey.painter.optimiser.lr=0.05", "--seeds", 1)
    run = ("run", "--suite", brightness, "--out", tmp_path / "r", "--device", "cpu", "--models", "grey")
    ganbench(*run, "--plugin", plugin, *settings)
    board = ganbench(
        "leaderboard", "--suite", brightness, "--out", tmp_path / "r", "--metric", "brightness", "--format", "csv"
    )
    head, line = (text.split(",") for text in board.out.splitlines())
    assert 0.25 < float(line[head.index("mean")]) < 0.45


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", r"fails on import: SyntaxError: "),
        ("import no_such_module", r"fails on import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(0)", "fails on import: SystemExit: 0"),
        ("raise ValueError('one\\ntwo')", r"fails on import: ValueError: one two"),
        (PLUGIN.replace("def painter_loss", "def paint"), r"player 'painter' has no method painter_loss"),
        (PLUGIN.replace('"grey"', '"gan"'), r"model 'gan' is registered twice; rename one of the two"),
    ],
)
def test_broken_plugin_is_one_line(
    ganbench: Callable[..., Any], tmp_path: Path, clean_registry: None, text: str, message: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text, encoding="utf-8")
    answer = ganbench("list", "models", "--plugin", path)
    assert answer.code == 2 and answer.err.count("\n") == 1 and message in answer.err, answer.err


def test_plugin_that_is_not_there(ganbench: Callable[..., Any], tmp_path: Path) -> None:
    answer = ganbench("list", "--plugin", tmp_path / "no.py")
    assert answer.code == 2 and answer.err == (
        f"ganbench: error: plug-in file '{tmp_path}/no.py' does not exist; give the path of a .py file\n"
    )


def test_two_plugins_of_one_name_are_refused(ganbench: Callable[..., Any], plugin: Path, tmp_path: Path) -> None:
    other = tmp_path / "grey.py"
    other.write_text("", encoding="utf-8")
    answer = ganbench("list", "models", "--plugin", plugin, "--plugin", other)
    assert answer.code == 2 and "two plug-in files are called 'grey.py'" in answer.err


def test_models_of_the_package_are_there_without_a_plugin() -> None:
    assert {"gan", "wgan-gp", "vae", "real-train"} <= set(registry.models.names())


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_plugin_costs_the_other_models_nothing(
    ganbench: Callable[..., Any], plugin: Path, suite: Path, tmp_path: Path, workers: int
) -> None:
    """The table of the others is printed, then one line about the model that is broken."""
    plugin.write_text(
        PLUGIN.replace("return (x -", "raise KeyError('level')\n        return (x -"), encoding="utf-8"
    )
    run = ("run", "--suite", suite, "--out", tmp_path / "r", "--device", "cpu", "--models", "grey,real-train")
    answer = ganbench(*run, "--plugin", plugin, "--workers", workers)
    assert (
        answer.code == 2
        and "copies data" in answer.out
        and "real-train" in answer.out
        and "grey" not in answer.out
    )
    assert answer.err == "ganbench: error: grey: KeyError: 'level'; --debug shows where\n"
    again = ganbench(*run, "--plugin", plugin, "--workers", workers)
    assert again.code == 2 and "trained 0 of 4 runs, measured 0" in again.out


def test_plugin_that_kills_its_process_costs_the_other_models_nothing(
    ganbench: Callable[..., Any], plugin: Path, suite: Path, tmp_path: Path
) -> None:
    plugin.write_text(
        PLUGIN.replace("return (x -", "import os; os.kill(os.getpid(), 9)\n        return (x -"), encoding="utf-8"
    )
    run = ("run", "--suite", suite, "--out", tmp_path / "r", "--device", "cpu", "--models", "grey,real-train")
    answer = ganbench(*run, "--plugin", plugin, "--workers", 2)
    assert answer.code == 2 and "real-train" in answer.out and "grey" not in answer.out
    assert answer.err.startswith("ganbench: error: grey: its process was killed by signal 9")
    assert answer.err.endswith("; run the same command again to go on\n") and answer.err.count("\n") == 1


def test_models_of_a_plugin_join_those_of_the_suite(
    ganbench: Callable[..., Any], plugin: Path, suite: Path, finished: Path, tmp_path: Path
) -> None:
    """After the suite is finished, only the plug-in's model is left to train; named models are run alone."""
    out = shutil.copytree(finished, tmp_path / "runs")
    run = ("run", "--suite", suite, "--out", out, "--device", "cpu", "--plugin", plugin)
    named = ganbench(*run, "--models", "gan")
    assert named.code == 0 and "nothing to train" in named.out and "grey" not in named.out
    answer = ganbench(*run)
    assert answer.code == 0 and "trained 2 of 8 runs, measured 2" in answer.out and "grey" in answer.out, (
        answer.err
    )
    assert "grey" not in ganbench("run", "--suite", suite, "--out", out, "--device", "cpu").out


def test_the_plugin_of_a_run_is_found_again_and_its_changes_are_said(
    ganbench: Callable[..., Any], plugin: Path, suite: Path, tmp_path: Path
) -> None:
    def forget() -> None:  # as a new process would
        for cached in (code.code_hash, code._contents, code._definition):
            cached.cache_clear()

    runs = tmp_path / "runs"
    with forgotten():
        run = ("run", "--suite", suite, "--models", "grey", "--seeds", "1", "--out", runs, "--plugin", plugin)
        assert ganbench(*run).code == 0
    [weights] = runs.glob("*/grey/*/weights.safetensors")
    before = weights.read_bytes()
    text = plugin.read_text(encoding="utf-8")
    for edited, error in (
        (text + "# a comment\n", ""),
        (text.replace("0.1 *", "0.2 *"), f"the code of grey in '{plugin}' has changed since"),
        (None, f"was trained with the plug-in '{plugin}', which is gone; give its place by --plugin"),
    ):
        plugin.write_text(edited, encoding="utf-8") if edited else plugin.unlink()
        forget()
        with forgotten():
            answer = ganbench("measure", runs, "--metric", "authenticity")
        assert answer.code == (2 if error else 0) and error in answer.err and answer.err.count("\n") <= 1, (
            answer.err
        )
        assert weights.read_bytes() == before  # measuring trains nothing


@pytest.mark.parametrize("name", ["'../../outside'", "'/nowhere/outside'", "'a,b'", "'x[/nope]'", "5"])
def test_a_name_that_is_no_part_of_a_path_is_one_line_and_nothing_is_written(
    ganbench: Callable[..., Any], plugin: Path, brightness: Path, tmp_path: Path, name: str
) -> None:
    plugin.write_text(PLUGIN.replace('name = "grey"', f"name = {name}"), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    answer = ganbench("run", "--suite", brightness, "--out", tmp_path / "a" / "b" / "runs", "--plugin", plugin)
    rule = "give 1 to 100 of a-z, 0-9, - and _, first a letter or digit"
    assert answer.code == 2 and answer.err == f"ganbench: error: {name} cannot name a model; {rule}\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_loss_that_is_no_scalar_is_one_line(
    ganbench: Callable[..., Any], plugin: Path, brightness: Path, tmp_path: Path
) -> None:
    plugin.write_text(PLUGIN.replace(".square().mean()", ".square().mean((1, 2, 3))"), encoding="utf-8")
    run = ("run", "--suite", brightness, "--out", tmp_path / "r", "--device", "cpu", "--models", "grey")
    for seeds in (1, 2):
        answer = ganbench(*run, "--plugin", plugin, "--seeds", seeds)
        assert answer.code == 2 and answer.err.endswith(
            "ganbench: error: grey: painter_loss gives a tensor of shape (50,); a loss is a scalar, e.g. a mean\n"
        )
    assert not list(tmp_path.glob("r/*/*/*/status.json"))


def test_a_generator_of_another_number_of_items_has_no_scores(
    ganbench: Callable[..., Any], plugin: Path, brightness: Path, tmp_path: Path
) -> None:
    few = PLUGIN.replace("return self.level", "return (self.level").replace("None, None]", "None, None])[:5]", 1)
    plugin.write_text(few.replace("x - self", "x[:5] - self"), encoding="utf-8")
    run = ("run", "--suite", brightness, "--out", tmp_path / "r", "--device", "cpu", "--models", "grey")
    answer = ganbench(*run, "--plugin", plugin, "--seeds", 1)
    assert answer.code == 0
    assert "not measured for grey: sample gives 5 items for the noise of 1000" in answer.out
    check = ganbench("check", "grey")
    assert check.code == 2 and "sample gives 5 items for the noise of 7" in check.out
