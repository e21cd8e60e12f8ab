"""The queue is worked off in order: what is committed is not trained again, and what fails costs nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ganbench.errors import UserError
from ganbench.execution import reproduce
from ganbench.reporting.experiments import read_experiments

Cli = Callable[..., Any]


@pytest.fixture
def queue(suite: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of queues of the tiny suite, in a folder of results of their own."""

    def make(*experiments: dict[str, object]) -> Path:
        path = tmp_path / "results" / "experiments.toml"
        path.parent.mkdir(exist_ok=True)
        base = {"suite": str(suite), "budget": "quick", "why": "a test"}
        lines = [
            "\n".join(
                ["[[experiment]]", *(f"{key} = {json.dumps(value)}" for key, value in {**base, **one}.items())]
            )
            for one in experiments
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return make


def committed(queue: Path) -> dict[str, int]:
    """Return model -> number of committed seeds."""
    rows = pd.read_csv(queue.parent / "scores" / "tiny-v1-quick.csv")
    return rows.groupby("model")["seed"].nunique().to_dict()


def trained(out: Path) -> list[str]:
    """Return the models that were trained in a folder of runs, one a seed."""
    return sorted(path.parent.parent.name for path in out.glob("tiny/*/*/status.json"))


def test_only_what_is_not_committed_is_trained(ganbench: Cli, queue: Callable[..., Path], tmp_path: Path) -> None:
    first = queue({"models": ["real-train", "gan"], "seeds": 1})
    answer = ganbench("reproduce", first, "--out", tmp_path / "a", "--device", "cpu", "--engine", "eager")
    assert answer.code == 0 and answer.err == "", answer
    assert trained(tmp_path / "a") == ["gan", "real-train"] and committed(first) == {"gan": 1, "real-train": 1}
    assert "| done " in first.with_suffix(".md").read_text(encoding="utf-8")

    more = queue({"models": ["real-train"], "seeds": 1}, {"seeds": 1})
    listed = ganbench("reproduce", more, "--list")
    assert listed.code == 0 and "done" in listed.out and "partial: 1/1" in " ".join(listed.out.split())
    table = more.with_suffix(".md").read_text(encoding="utf-8")
    assert "partial: 1/1 seeds, 2/3 models" in table
    assert ganbench("reproduce", more, "--out", tmp_path / "b", "--device", "cpu").code == 0
    assert trained(tmp_path / "b") == ["vae"] and committed(more) == {"gan": 1, "real-train": 1, "vae": 1}
    assert ganbench("reproduce", more, "--out", tmp_path / "c", "--device", "cpu").code == 0
    assert not trained(tmp_path / "c")


def test_a_failing_experiment_costs_no_other(ganbench: Cli, queue: Callable[..., Path], finished: Path) -> None:
    file = queue({"datasets": ["npz:absent.npz", "folder:absent"]}, {"models": ["vae"]})
    answer = ganbench("reproduce", file, "--out", finished, "--device", "cpu")
    assert answer.code == 1 and committed(file)["vae"] == 2
    first, second = answer.err.splitlines()
    assert first.startswith("ganbench: failed: ") and "absent.npz" in first
    assert second.startswith("ganbench: failed: ") and "folder:absent" in second


def test_a_wrong_name_in_the_queue_is_told_before_any_work(
    ganbench: Cli, queue: Callable[..., Path], tmp_path: Path
) -> None:
    file = queue({"models": ["vae"]}, {"budget": "qick"})
    answer = ganbench("reproduce", file, "--out", tmp_path / "runs", "--device", "cpu")
    assert answer.code == 2 and answer.err == "ganbench: error: unknown budget 'qick'; did you mean quick?\n"
    assert not trained(tmp_path / "runs")


def test_what_ended_is_published_though_a_model_failed(
    queue: Callable[..., Path], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **options: object) -> None:
        raise UserError("vae: broken")

    monkeypatch.setattr(reproduce, "run", run)
    file = queue({})
    said: list[str] = []
    [error] = reproduce.reproduce(read_experiments(file), file.parent, finished, said.append, "cpu")
    assert error.endswith(" on digits: vae: broken")
    assert committed(file) == {"gan": 2, "real-train": 2, "vae": 2} and len(said) == 1


def test_what_needs_a_gpu_waits_for_one(ganbench: Cli, queue: Callable[..., Path], tmp_path: Path) -> None:
    file = queue({"device": "gpu"})
    answer = ganbench("reproduce", file, "--out", tmp_path / "runs", "--device", "cpu")
    assert answer.code == 0 and "skipped, needs a GPU" in answer.out and not trained(tmp_path / "runs")


def test_one_suite_of_the_queue(ganbench: Cli, queue: Callable[..., Path], suite: Path) -> None:
    file = queue({}, {"suite": "digits"})
    listed = ganbench("reproduce", file, "--list", "--only", "digits")
    assert "digits" in listed.out and "tiny" not in listed.out
    answer = ganbench("reproduce", file, "--only", "digit")
    assert answer.code == 2 and "unknown suite among the experiments 'digit'; did you mean digits?" in answer.err
