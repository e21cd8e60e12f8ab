"""From finished runs to score rows: what is measured, what cannot be, and that both are said."""

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganbench import datasets, registry
from ganbench.errors import UserError
from ganbench.evaluation.grid import draw_grid
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.measure import find, measure, wanted
from ganbench.evaluation.real import RealData
from ganbench.metrics import Metric, MetricInputs, Score, register
from ganbench.runs.folder import Status, restore
from ganbench.runs.scores import ScoreRow, merge_rows, read_rows
from ganbench.suites.spec import RunSpec, read_spec
from ganbench.suites.suite import read_suite


@pytest.fixture(scope="module")
def reference() -> RealData:
    return RealData(datasets.load("digits"))


def folder_of(out: Path, model: str, seed: int = 0) -> Path:
    """Return the folder of a run."""
    return next(f for f in sorted(out.glob(f"tiny/{model}/*")) if read_spec(f).seed == seed)


def metric_inputs(out: Path, model: str, reference: RealData, **other: object) -> RunInputs:
    """Return the evidence of a finished run, its specification changed."""
    folder = folder_of(out, model)
    spec = read_spec(folder)
    return RunInputs(restore(spec, reference.data, folder), replace(spec, **other), reference)


def add(name: str, compute: Callable[[MetricInputs, str], Score], **other: object) -> None:
    """Register a metric of the tests."""
    values = {"version": 1, "summary": "", "ability": "sample", "better": "lower", "needs_extractor": "no"}
    register(Metric(name=name, unit="", compute=compute, **{**values, **other}))  # type: ignore[arg-type]


def text(rows: list[ScoreRow]) -> list[dict[str, object]]:
    """Return rows in a form where NaN equals NaN."""
    return [{key: repr(value) for key, value in dataclasses.asdict(row).items()} for row in rows]


def test_every_metric_of_the_suite_has_a_row_with_its_protocol(runs: Path, reference: RealData) -> None:
    folder, names = folder_of(runs, "vae"), read_suite("digits").metrics
    (folder / "scores.csv").unlink()
    rows = measure(read_spec(folder), folder, reference, names)
    assert [row.metric for row in rows] == list(names)
    for row in rows:
        metric, extractor = find(row.metric)
        assert row.status == "measured" and math.isfinite(row.value) and row.n > 0, row
        assert row.protocol.startswith(f"{row.metric} v{metric.version}; weights of the last round; ")
        assert re.search(r"\b(200|400|1000|10000) (generated|test)\b", row.protocol), row.protocol
        assert "float64" in row.protocol
        if extractor:
            assert f"{extractor}@sha256:{registry.extractors.get(extractor).sha256[:12]}" in row.protocol
        assert (
            row.provenance.startswith("ganbench ")
            and f"trained on cpu eager with torch {torch.__version__}" in row.provenance
        )
    assert text(rows) == text(read_rows(folder / "scores.csv"))


def test_measuring_twice_gives_the_same_file(runs: Path, reference: RealData) -> None:
    folder = folder_of(runs, "gan")
    names = ["fid@mlp-digits-v1", "authenticity", "kid@mlp-digits-v1"]
    measure(read_spec(folder), folder, reference, names)
    first, picture = ((folder / name).read_bytes() for name in ("scores.csv", "samples.png"))
    measure(read_spec(folder), folder, RealData(datasets.load("digits")), names)
    assert (folder / "scores.csv").read_bytes() == first
    assert (folder / "samples.png").read_bytes() == picture


def test_metric_measured_again_keeps_its_place(runs: Path, reference: RealData) -> None:
    """The first row ranks the leaderboard: measuring FID again must not make another metric the first."""
    folder = folder_of(runs, "vae")
    before = [row.metric for row in read_rows(folder / "scores.csv")]
    rows = measure(read_spec(folder), folder, reference, [before[0], "recall@mlp-digits-v1"])
    assert [row.metric for row in rows] == [*before, "recall@mlp-digits-v1"]


def test_rows_that_another_process_measured_meanwhile_stay(
    runs: Path, reference: RealData, clean_registry: None
) -> None:
    folder = folder_of(runs, "gan")
    before = read_rows(folder / "scores.csv")

    def slow(metric_inputs: MetricInputs, extractor: str) -> Score:
        merge_rows(folder / "scores.csv", [replace(before[0], value=3.0), replace(before[0], metric="theirs")])
        return Score(2.0, 0.5, 3, "p")

    add("slow", slow)
    rows = measure(read_spec(folder), folder, reference, ["slow"])
    assert [row.metric for row in rows] == [*(row.metric for row in before), "theirs", "slow"]
    assert rows[0].value == 3.0 and text(rows) == text(read_rows(folder / "scores.csv"))


def test_many_merge_into_one_file_and_none_is_lost(runs: Path) -> None:
    path = folder_of(runs, "gan") / "scores.csv"
    known = read_rows(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: merge_rows(path, [replace(known[0], metric=f"m{i}")]), range(40)))
    assert {row.metric for row in read_rows(path)} == {f"m{i}" for i in range(40)} | {row.metric for row in known}


def test_a_run_that_is_trained_anew_while_it_is_measured_gets_no_old_rows(
    runs: Path, reference: RealData, clean_registry: None
) -> None:
    folder = folder_of(runs, "gan")

    def slow(metric_inputs: MetricInputs, extractor: str) -> Score:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        (folder / "status.json").write_text(json.dumps({**status, "code": "other"}), encoding="utf-8")
        (folder / "scores.csv").unlink()
        return Score(2.0, 0.5, 3, "p")

    add("slow", slow)
    with pytest.raises(UserError, match="was trained anew meanwhile; measure it again"):
        measure(read_spec(folder), folder, reference, ["slow"])
    assert not (folder / "scores.csv").exists()


def test_reconstruction_error_by_hand(finished: Path, reference: RealData) -> None:
    folder = folder_of(finished, "vae")
    (row,) = (row for row in read_rows(folder / "scores.csv") if row.metric == "reconstruction-mse")
    real = reference.data.images["test"].float() / 255
    with torch.no_grad():
        back = restore(read_spec(folder), reference.data, folder).reconstruct(real * 2 - 1)  # type: ignore[operator]
    assert row.value == pytest.approx(
        (((back + 1) / 2).clamp(0, 1) - real).double().square().mean().item(), rel=1e-6
    )


def test_ability_that_a_game_lacks_is_a_reason(finished: Path) -> None:
    rows = {row.metric: row for row in read_rows(folder_of(finished, "gan") / "scores.csv")}
    row = rows["reconstruction-mse"]
    assert (row.status, row.reason) == ("unavailable", "the game has no reconstruct")
    assert math.isnan(row.value) and rows["fid@mlp-digits-v1"].status == "measured"


def test_the_training_set_stands_among_the_models(finished: Path) -> None:
    fid = {}
    for model in ("gan", "real-train"):
        (row,) = (r for r in read_rows(folder_of(finished, model) / "scores.csv") if r.metric.startswith("fid"))
        fid[model] = row
    assert fid["real-train"].role == "copy" and fid["gan"].role == "model"
    assert fid["real-train"].value < fid["gan"].value / 5


def test_first_images_do_not_depend_on_how_many_are_drawn(finished: Path, reference: RealData) -> None:
    few, many = (metric_inputs(finished, "gan", reference, samples=samples) for samples in (150, 2500))
    assert torch.equal(many.fake()[:150], few.fake())
    assert torch.equal(few.fake(1700), many.fake(1700)) and len(few.fake(1700)) == 1700
    assert not torch.equal(many.fake(2000)[:1000], many.fake(2000)[1000:])


def test_seeds_and_models_draw_other_noise(finished: Path, reference: RealData) -> None:
    plain = metric_inputs(finished, "gan", reference)
    assert not torch.equal(plain.fake(100), metric_inputs(finished, "gan", reference, seed=1).fake(100))
    assert plain.fake(100).min() >= 0 and plain.fake(100).max() <= 1


def test_features_of_more_images_than_the_suite_asks_for(finished: Path, reference: RealData) -> None:
    few = metric_inputs(finished, "gan", reference, samples=50)
    first = few.features("fake", "mlp-digits-v1").features
    more = few.features("fake", "mlp-digits-v1", 80).features
    assert len(first) == 50 and len(more) == 80 and torch.allclose(first, more[:50], atol=1e-9)
    assert len(few.features("fake", "mlp-digits-v1").features) == 50


def test_broken_metric_costs_only_its_own_row(runs: Path, reference: RealData, clean_registry: None) -> None:
    def user_error(metric_inputs: MetricInputs, extractor: str) -> Score:
        raise UserError("too few images")

    def bug(metric_inputs: MetricInputs, extractor: str) -> Score:
        raise ZeroDivisionError("division by zero")

    add("refuses", user_error)
    add("crashes", bug)
    add("nan", lambda *_: Score(math.nan, math.nan, 3, "p", "no pairs"))
    add("fine", lambda *_: Score(2.0, 0.5, 3, "p"))
    folder = folder_of(runs, "gan")
    rows = measure(read_spec(folder), folder, reference, ["refuses", "crashes", "nan", "fine"])
    by_name = {row.metric: row for row in rows}
    assert (by_name["refuses"].status, by_name["refuses"].reason) == ("failed", "too few images")
    assert (by_name["crashes"].status, by_name["crashes"].reason) == (
        "failed",
        "ZeroDivisionError: division by zero",
    )
    assert (by_name["nan"].status, by_name["nan"].reason) == ("failed", "no pairs")
    assert all(math.isnan(by_name[name].value) for name in ("refuses", "crashes", "nan"))
    assert (by_name["fine"].status, by_name["fine"].value, by_name["fine"].std_error) == ("measured", 2.0, 0.5)


def test_extractor_for_another_shape_is_a_reason(runs: Path, reference: RealData) -> None:
    folder = folder_of(runs, "gan")
    rows = measure(read_spec(folder), folder, reference, ["fid@lenet-mnist-v1", "fid@pixels"])
    wrong, right = rows[-2:]
    assert wrong.status == "failed" and "lenet-mnist-v1" in wrong.reason and "(1, 8, 8)" in wrong.reason
    assert right.status == "measured" and "pixels" in right.protocol


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_protocol_says_which_weights_were_measured(runs: Path, reference: RealData, ema: float) -> None:
    folder = folder_of(runs, "gan")
    rows = measure(replace(read_spec(folder), ema=ema), folder, reference, ["authenticity"])
    rule = "weights averaged with decay 0.9" if ema else "weights of the last round"
    assert rule in rows[-1].protocol


def test_wanted_notices_what_is_missing_old_or_damaged(finished: Path, runs: Path, clean_registry: None) -> None:
    folder = folder_of(runs, "gan")
    names = list(read_suite("digits").metrics)
    have = [row.metric for row in read_rows(folder / "scores.csv")]
    assert wanted(folder, have) == [] and wanted(folder, names) == [name for name in names if name not in have]
    old = registry.metrics.get("fid")
    registry.metrics._items["fid"] = replace(old, version=old.version + 1)
    assert wanted(folder, have) == ["fid@mlp-digits-v1"]
    (folder / "scores.csv").write_text("nonsense\n1\n", encoding="utf-8")
    assert wanted(folder, have) == have
    (folder / "scores.csv").unlink()
    assert wanted(folder, have) == have


@pytest.mark.parametrize("damage", ["short", "zeros", "other", "gone"])
def test_damaged_weights_are_named(runs: Path, reference: RealData, damage: str) -> None:
    folder = folder_of(runs, "gan")
    weights = folder / "weights.safetensors"
    before = (folder / "scores.csv").read_bytes()
    if damage == "gone":
        weights.unlink()
    elif damage == "other":
        shutil.copy(folder_of(runs, "vae") / "weights.safetensors", weights)
    else:
        data = weights.read_bytes()
        weights.write_bytes(data[:-100] if damage == "short" else bytes(len(data)))
    with pytest.raises(UserError, match=rf"^weights in '{folder}' are damaged \(.*\); delete the folder"):
        measure(read_spec(folder), folder, reference, ["authenticity"])
    assert (folder / "scores.csv").read_bytes() == before


def test_unfinished_run_is_not_measured(runs: Path, reference: RealData) -> None:
    folder = folder_of(runs, "gan")
    (folder / "status.json").unlink()
    with pytest.raises(UserError, match="has not finished; continue it with ganbench run"):
        measure(read_spec(folder), folder, reference, ["authenticity"])


def test_diverged_run_has_rows_but_no_picture(runs: Path, reference: RealData) -> None:
    folder = folder_of(runs, "gan")
    (folder / "samples.png").unlink()
    spec: RunSpec = read_spec(folder)
    known = Status.read(folder)
    assert known is not None
    status = replace(known, state="diverged", round=7, reason="NaN or infinite loss at round 7")
    (folder / "status.json").write_text(json.dumps(asdict(status)), encoding="utf-8")
    rows = measure(spec, folder, reference, ["fid@mlp-digits-v1", "reconstruction-mse"])
    assert {row.status for row in rows if row.metric != "authenticity"} == {"diverged"}
    assert all("round 7" in row.reason and math.isnan(row.value) for row in rows if row.metric != "authenticity")
    assert not (folder / "samples.png").exists()


def test_model_that_generates_nan_fails_with_a_reason(
    runs: Path, reference: RealData, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(runs, "gan")
    game = registry.models.get("gan").game
    monkeypatch.setattr(game, "sample", lambda self, noise: torch.full((len(noise["z"]), 1, 8, 8), math.nan))
    rows = measure(read_spec(folder), folder, reference, ["fid@mlp-digits-v1"])
    assert (rows[0].status, rows[0].reason) == ("failed", "gan generates NaN or infinite pixels")


def test_pictures_of_all_runs(finished: Path) -> None:
    pictures = list(finished.glob("tiny/*/*/samples.png"))
    assert len(pictures) == 6
    for path in pictures:
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        assert picture.mode == "L" and min(pixels.shape) >= 10 * 8 and len(np.unique(pixels)) > 10
    assert len({path.read_bytes() for path in pictures}) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_holds_the_images_in_reading_order(tmp_path: Path, channels: int) -> None:
    images = torch.rand(13, channels, 28, 28, generator=torch.Generator().manual_seed(0))
    draw_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] % 10 == 0 and pixels.shape[0] % 2 == 0
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 10
    for index in (0, 9, 10, 12):
        top, left = (index // 10) * height, (index % 10) * width
        cell = pixels[top : top + height, left : left + width]
        edge = (height - 28) // 2
        expected = (images[index] * 255).round().to(torch.uint8).expand(3, 28, 28).permute(1, 2, 0).numpy()
        assert np.array_equal(cell[edge : edge + 28, edge : edge + 28], expected), index
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fdi", r"unknown metric 'fdi'; did you mean fid"),
        ("fid", r"metric fid needs an extractor, for example fid@"),
        ("fid@lenet", r"unknown extractor 'lenet'; did you mean lenet-"),
        ("authenticity@pixels", r"metric authenticity takes no extractor, got 'authenticity@pixels'"),
    ],
)
def test_unknown_metric(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(name)
