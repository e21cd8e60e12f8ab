"""Finished runs are taken up again only while the code and the data they came from are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.evaluation.measure import wanted
from ganbench.reporting.publish import publish_rows
from ganbench.runs import folder
from ganbench.runs.folder import Status, pending
from ganbench.runs.scores import read_rows, write_rows
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import Budget, Suite
from ganbench.training import checkpoints
from ganbench.training.loop import train

SUITE = Suite(
    name="stale",
    version=1,
    summary="for this test",
    datasets=("digits",),
    metrics=("fid@pixels",),
    budgets={"quick": Budget(rounds=3, seeds=2, batch=20, samples=50)},
    backbone={"kind": "mlp", "generator": [8], "critic": [8]},
)


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    return datasets.load("digits")


def trained(out: Path, data: datasets.Dataset) -> list[RunSpec]:
    specs = expand(SUITE, "quick", ["gan"])["gan"]
    train(specs, data, out)
    return specs


def test_other_code_makes_a_run_pending(
    tmp_path: Path, data: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = trained(tmp_path, data)
    assert pending(specs, tmp_path) == []
    monkeypatch.setattr(folder, "code_of", lambda spec: "edited since")
    assert pending(specs, tmp_path) == specs


def test_a_changed_default_makes_a_run_pending(tmp_path: Path, data: datasets.Dataset) -> None:
    specs = trained(tmp_path, data)
    changed = [replace(spec, settings={**spec.settings, "instance_noise": 0.5}) for spec in specs]
    assert [spec.hash for spec in changed] == [spec.hash for spec in specs]
    assert pending(changed, tmp_path) == changed


def test_weights_of_other_code_are_not_measured(
    tmp_path: Path, data: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = trained(tmp_path, data)[0]
    assert folder.restore(spec, data, spec.folder(tmp_path)) is not None
    monkeypatch.setattr(folder, "code_of", lambda spec: "edited since")
    with pytest.raises(UserError, match=r"^the code of gan has changed since '.*' was trained; train it again$"):
        folder.restore(spec, data, spec.folder(tmp_path))


def test_other_data_makes_a_run_pending(tmp_path: Path, data: datasets.Dataset) -> None:
    specs = trained(tmp_path, data)
    assert pending(specs, tmp_path, data.sha256[:12]) == []
    assert pending(specs, tmp_path, "another hash") == specs


def test_training_anew_removes_the_scores_of_the_old_run(tmp_path: Path, data: datasets.Dataset) -> None:
    specs = trained(tmp_path, data)
    folder = specs[0].folder(tmp_path)
    (folder / "scores.csv").write_text("old")
    train(specs, data, tmp_path)
    assert not (folder / "scores.csv").exists() and Status.read(folder) is not None


def test_npz_is_known_by_its_file_not_by_its_path(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    loaded = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        np.savez(tmp_path / place / "mine.npz", images=images)
        loaded.append(datasets.load(f"npz:{tmp_path / place / 'mine.npz'}"))
    assert loaded[0].name == loaded[1].name == "npz:mine.npz"
    assert loaded[0].sha256 == loaded[1].sha256


def test_failed_metric_is_wanted_again(
    tmp_path: Path, data: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganbench.evaluation.measure import measure
    from ganbench.evaluation.real import RealData

    monkeypatch.setenv("GANBENCH_INCEPTION", str(tmp_path / "absent.pth"))
    spec = trained(tmp_path, data)[0]
    folder = spec.folder(tmp_path)
    names = ["fid@pixels", "fid@inception-2015"]
    rows = {row.metric: row for row in measure(spec, folder, RealData(data), names)}
    assert rows["fid@pixels"].status == "measured" and rows["fid@inception-2015"].status == "failed"
    assert wanted(folder, names) == ["fid@inception-2015"]


def test_publish_leaves_experiments_out(tmp_path: Path, data: datasets.Dataset) -> None:
    from ganbench.evaluation.measure import measure
    from ganbench.evaluation.real import RealData

    plans = [
        expand(SUITE, "quick", ["gan"])["gan"],
        expand(SUITE, "quick", ["gan"], assignments=[("gan", "latent", 7)])["gan"],
    ]
    for specs in plans:
        train(specs, data, tmp_path)
        for spec in specs:
            measure(spec, spec.folder(tmp_path), RealData(data), SUITE.metrics)
    written = publish_rows(SUITE, "quick", tmp_path, tmp_path / "results")
    scores = next(path for path in written if path.parent.name == "scores")
    assert {row.config_hash for row in read_rows(scores)} == {plans[0][0].config_hash}
    for spec in plans[0]:
        write_rows(spec.folder(tmp_path) / "scores.csv", [])
    with pytest.raises(UserError, match="suite's settings"):
        publish_rows(SUITE, "quick", tmp_path, tmp_path / "results")


def test_publish_adds_a_model_to_committed_rows(tmp_path: Path, data: datasets.Dataset) -> None:
    from ganbench.evaluation.measure import measure
    from ganbench.evaluation.real import RealData

    names = ["real-train", "gan"]
    suite = replace(SUITE, models=tuple(names))
    counts = []
    for name in [*names, "gan"]:
        out = tmp_path / f"{name}-{len(counts)}"
        specs = expand(suite, "quick", [name])[name]
        train(specs, data, out)
        for spec in specs:
            measure(spec, spec.folder(out), RealData(data), suite.metrics)
        written = publish_rows(suite, "quick", out, tmp_path / "results")
        scores = next(path for path in written if path.parent.name == "scores")
        counts.append([sum(row.model == other for row in read_rows(scores)) for other in names])
    one = len(specs) * len(suite.metrics)
    assert counts == [[one, 0], [one, one], [one, one]]
    publish_rows(replace(suite, models=("gan",)), "quick", out, tmp_path / "results")
    assert {row.model for row in read_rows(scores)} == {"gan"}  # the suite no longer has the other


def test_publish_adds_seeds_to_committed_rows(tmp_path: Path, data: datasets.Dataset) -> None:
    from ganbench.evaluation.measure import measure
    from ganbench.evaluation.real import RealData

    specs = expand(SUITE, "quick", ["gan"], 3)["gan"]
    for out, own in (("a", specs[1:]), ("b", specs[:2])):
        train(own, data, tmp_path / out)
        for spec in own:
            measure(spec, spec.folder(tmp_path / out), RealData(data), SUITE.metrics)
        written = publish_rows(SUITE, "quick", tmp_path / out, tmp_path / "results")
    scores = next(path for path in written if path.parent.name == "scores")
    rows = read_rows(scores)
    assert [row.seed for row in rows] == [seed for seed in range(3) for _ in SUITE.metrics]
    assert [row.metric for row in rows] == 3 * list(SUITE.metrics)
    # Rows of earlier code have nothing to do with the new ones.
    write_rows(scores, [replace(row, code_hash="") for row in rows])
    publish_rows(SUITE, "quick", tmp_path / "b", tmp_path / "results")
    assert {row.seed for row in read_rows(scores)} == {0, 1}


def test_checkpoint_of_other_code_or_data_is_not_taken_up(
    tiny: Callable[..., Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = registry.models.get("gan")
    settings = model.settings({"kind": "mlp", "generator": [8], "critic": [8]})
    spec = RunSpec("test", 1, "tiny", "tiny", "gan", settings, {}, 0, 9, 16, 0.0, 10)
    data = tiny()
    other = replace(data, images={split: 255 - images for split, images in data.images.items()})
    straight = {}
    for name, images in (("data", data), ("other", other)):
        train([spec], images, tmp_path / name)
        straight[name] = (spec.folder(tmp_path / name) / "weights.safetensors").read_bytes()
    assert straight["data"] != straight["other"]
    train([spec], data, tmp_path / "broken", stop_after=8)
    train([spec], other, tmp_path / "broken")
    assert (spec.folder(tmp_path / "broken") / "weights.safetensors").read_bytes() == straight["other"]
    assert not list(tmp_path.rglob("checkpoint-*"))
    train([spec], data, tmp_path / "code", stop_after=8)
    (old,) = tmp_path.rglob("checkpoint-*.pt")
    monkeypatch.setattr(checkpoints, "code_of", lambda spec: "changed")
    train([spec], data, tmp_path / "code", stop_after=4)
    (new,) = tmp_path.rglob("checkpoint-*.pt")
    assert new != old and torch.load(new, weights_only=True)["stack"]["round"] == 4
