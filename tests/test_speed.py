"""The benchmarks cover what is registered and say why they skip; `make bench-check` runs them."""

import inspect
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from ganbench import registry
from ganbench.errors import UserError
from tests.speed import common, metrics, quality, start, tables, training

ROOT = Path(__file__).parent.parent
FILES = (metrics, quality, start, tables, training)
CLASSES = [
    cls
    for file in FILES
    for _, cls in inspect.getmembers(file, inspect.isclass)
    if cls.__module__ == file.__name__
]


def test_a_model_of_every_baseline_file_and_every_metric_and_dataset_have_benchmarks() -> None:
    names = common.names()
    games = [registry.models.get(name).game for name in names["models"]]
    trained = [registry.models.get(name).game for name in registry.models.names()]
    assert {game.__module__ for game in games} == {game.__module__ for game in trained if game.players}
    assert len(games) == len({game.__module__ for game in games})
    assert names["metrics"] == registry.metrics.names()
    assert names["datasets"] == registry.datasets.names()
    assert training.Rounds.params[0] == names["models"]
    assert metrics.Metrics.params[0] == metrics.Memory.params[0] == names["metrics"]
    assert start.Datasets.params[0] == names["datasets"]


def reason_to_skip(function, *arguments: object) -> BaseException | None:
    """Return what made a benchmark skip, None if it did not."""
    try:
        function(*arguments)
    except NotImplementedError as error:
        return error.__cause__ or error
    return None


@pytest.mark.parametrize("backbone", ["mlp", "conv"])
@pytest.mark.parametrize("model", common.names()["models"])
def test_a_model_skips_only_where_it_says_that_it_cannot_play(
    model: str, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "WARM_UP", 0)
    assert isinstance(reason_to_skip(common.stack.__wrapped__, model, backbone, "torch:cpu"), UserError | None)


@pytest.mark.parametrize("metric", common.names()["metrics"])
def test_every_metric_has_a_model_to_be_measured_on(metric: str) -> None:
    assert reason_to_skip(metrics.ready, metric, "torch:cpu") is None


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_a_benchmark_is_described_and_versioned(cls: type) -> None:
    assert cls.__doc__ and isinstance(cls.version, str)
    assert len(getattr(cls, "params", ())) == len(getattr(cls, "param_names", ()))


@pytest.mark.parametrize("name", common.PLACES)
def test_what_benchmarks_take_of_ganbench_stands_where_they_look_first(name: str) -> None:
    module, _, attribute = common.PLACES[name][0].partition(":")
    assert common.ours(name) is getattr(import_module(module), attribute)


def test_an_older_commit_is_asked_for_what_it_called_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    places = ("ganbench.none:dumps", "json:no_such", "json:dumps")
    monkeypatch.setattr(common, "PLACES", {"save": places, "gone": places[:2]})
    assert common.ours("save") is json.dumps
    with pytest.raises(NotImplementedError, match=r"none of ganbench\.none:dumps"), common.skipping():
        common.ours("gone")


def test_what_an_older_commit_lacks_is_skipped_with_the_reason() -> None:
    with pytest.raises(NotImplementedError, match="unknown model 'gna'"), common.skipping():
        registry.models.get("gna")
    with pytest.raises(ZeroDivisionError), common.skipping():
        _ = 1 / 0


def test_an_absent_gpu_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotImplementedError, match="no CUDA device"):
        training.CudaMemory().setup("mlp")


def test_a_diverged_training_fails_the_quality_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    # asv takes NaN for "skipped" and would say nothing.
    wild = replace(registry.models.get("gan"), overrides={"generator.optimiser.lr": 1e30})
    monkeypatch.setitem(registry.models._items, "gan", wild)
    with pytest.raises(RuntimeError, match="gan, seed 0: diverged"):
        quality.mean_score.__wrapped__("gan", "fid@mlp-digits-v1")


def test_the_settings_of_asv_name_folders_that_exist() -> None:
    text = (ROOT / "asv.conf.json").read_text(encoding="utf-8")
    conf = json.loads("\n".join(line for line in text.splitlines() if not line.strip().startswith("//")))
    assert (ROOT / conf["benchmark_dir"] / "common.py").is_file()
    assert conf["results_dir"] == "results/asv"
