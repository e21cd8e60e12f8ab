"""Where work runs: the same rows from one process or several, and one failure that stops no other model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ganbench import datasets, execute, registry
from ganbench.execute import Work, choose_device
from ganbench.registry import UserError
from ganbench.suite import RunSpec, expand, read_suite

Scores = Callable[[Path], dict[str, str]]
METRICS = ("authenticity",)


def works(suite: Path, out: Path, **changes: dict[str, object]) -> list[Work]:
    """Return the work of the tiny suite, each model's specifications changed as asked."""
    plan = expand(read_suite(str(suite)), "quick")

    def changed(model: str, specs: list[RunSpec]) -> tuple[RunSpec, ...]:
        return tuple(replace(spec, **changes.get(model, {})) for spec in specs)  # type: ignore[arg-type]

    return [Work(changed(model, specs), METRICS, out, "cpu") for model, specs in plan.items()]


def quiet(*news: object) -> None:
    """Take news and say nothing."""


def test_two_processes_give_the_rows_of_one_in_the_order_of_the_work(
    suite: Path, finished: Path, tmp_path: Path, scores: Scores
) -> None:
    metrics = read_suite(str(suite)).metrics
    todo = [replace(work, metrics=metrics) for work in works(suite, tmp_path)[::-1]]
    outcomes = execute.execute(todo, 2, quiet)
    assert [outcome.model for outcome in outcomes] == [work.model for work in todo]
    assert [(outcome.trained, outcome.measured) for outcome in outcomes] == [(2, 2)] * 3
    assert scores(tmp_path) == scores(finished)


@pytest.mark.parametrize("workers", [1, 2])
def test_failure_is_told_after_the_others_are_finished(suite: Path, tmp_path: Path, workers: int) -> None:
    todo = works(suite, tmp_path, gan={"batch": 5000}, **{"real-train": {"batch": 6000}})
    with pytest.raises(UserError) as caught:
        execute.execute(todo, workers, quiet)
    assert str(caught.value).startswith("gan: batch 5000 is larger than the 1197 training images")
    assert str(caught.value).endswith("; also failed: real-train")
    assert len(list(tmp_path.glob("tiny/vae/*/scores.csv"))) == 2
    assert not list(tmp_path.glob("tiny/gan/*/status.json"))


def test_bug_in_one_model_is_raised_after_the_others_are_finished(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(self: object, *arguments: object) -> None:
        raise ZeroDivisionError("in the loss")

    monkeypatch.setattr(registry.models.get("gan").game, "generator_loss", bug)
    with pytest.raises(ZeroDivisionError, match="in the loss"):
        execute.execute(works(suite, tmp_path), 1, quiet)
    assert len(list(tmp_path.glob("tiny/vae/*/scores.csv"))) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_absent_dataset_is_one_error_before_any_work(
    suite: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("no work must begin")

    monkeypatch.setattr(execute, "perform", never)
    monkeypatch.setattr(execute, "_in_processes", never)
    changes = {model: {"dataset": "mnist"} for model in ("gan", "vae", "real-train")}
    todo = [replace(w, data_root=str(tmp_path), download=False) for w in works(suite, tmp_path, **changes)]
    with pytest.raises(UserError, match=r"^mnist: "):
        execute.execute(todo, workers, quiet)


def test_news_add_up(suite: Path, tmp_path: Path) -> None:
    news: list[tuple[str, str, int, float]] = []
    outcomes = execute.execute(works(suite, tmp_path), 1, lambda *one: news.append(one))
    assert [outcome.model for outcome in outcomes] == ["gan", "real-train", "vae"]
    for model in ("gan", "real-train", "vae"):
        total = {
            stage: sum(done for name, kind, done, _ in news if (name, kind) == (model, stage))
            for stage in ("train", "trained", "measured")
        }
        assert total == {"train": 40, "trained": 2, "measured": 2}


def test_dataset_is_loaded_once_for_all_models(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, calls = datasets.load, []

    def counting(*arguments: object) -> object:
        calls.append(arguments)
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(datasets, "load", counting)
    execute._load.cache_clear()
    execute._reference.cache_clear()
    execute.execute(works(suite, tmp_path), 1, quiet)
    assert len(calls) == 1


def test_device() -> None:
    assert choose_device("cpu") == "cpu" and choose_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match=r"^unknown device 'gpu'; give auto, cpu, cuda or mps$"):
        choose_device("gpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_device_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"^--device {name}: this machine has none"):
        choose_device(name)
    assert choose_device("auto") == "cpu"
