"""Learning curves end at the score of the finished run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ganbench import datasets
from ganbench.errors import UserError
from ganbench.evaluation.measure import measure
from ganbench.evaluation.real import RealData
from ganbench.plotting.curves import curve, draw_curves
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite
from ganbench.training.loop import train

METRIC = "cluster-purity"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, RunSpec, RealData]]:
    out, data = tmp_path_factory.mktemp("runs"), datasets.load("digits")
    suite = read_suite("clustering")
    specs = [
        replace(spec, rounds=9, snapshots=3, samples=20)
        for model in ("graphical-gan-mixture", "gmvae-alpha")
        for spec in expand(suite, "quick", [model], seeds=2, dataset="digits")[model]
    ]
    for pair in (specs[:2], specs[2:]):
        train(pair, data, out)
    reference = RealData(data)
    return [(spec.folder(out), spec, reference) for spec in specs]


def test_curve_ends_at_the_score_of_the_run(runs: list[tuple[Path, RunSpec, RealData]]) -> None:
    for folder, spec, reference in runs:
        points = curve(folder, spec, reference, METRIC)
        assert [round_ for round_, _ in points] == [0, 3, 6, 9]
        assert points[-1][1] == measure(spec, folder, reference, [METRIC])[0].value
    assert len({value for _, value in points}) > 1, "a curve that never moves shows nothing"


def test_figure_is_drawn(runs: list[tuple[Path, RunSpec, RealData]], tmp_path: Path) -> None:
    draw_curves(runs, METRIC, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size[0] > 400


def test_runs_without_snapshots_or_ability_are_refused(runs: list[tuple[Path, RunSpec, RealData]]) -> None:
    folder, spec, reference = runs[0]
    with pytest.raises(UserError, match="kept no snapshots"):
        curve(folder, replace(spec, snapshots=0), reference, METRIC)
    with pytest.raises(UserError, match="has no classify, which classification-error needs"):
        curve(folder, spec, reference, "classification-error")
