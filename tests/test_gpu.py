"""What `make gpu` runs on a card: pieces stop and go on, commands hold, checks find what they look for."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from ganbench import registry
from ganbench.checks.case import Case
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from tests.cases import DENSE, TRAINED, cases, first_of_each_class
from tests.gpu import __main__ as driver
from tests.gpu import checks, plan, summary
from tests.gpu.plan import Piece
from tests.gpu.waits import no_waits

COUNT = "import pathlib, sys, time; p = pathlib.Path(sys.argv[1]); n = len(p.read_text()) if p.exists() else 0; "
BROKEN_OFF_ONCE = COUNT + "p.write_text('x' * (n + 1)); time.sleep(0 if n else 60)"


def call(out: Path, *options: str) -> int:
    return driver.main(["--device", "cpu", "--tiny", "--out", str(out), *options])


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts pieces in the place of all."""
    monkeypatch.setattr(driver, "LEAST", 0.0)
    return lambda *pieces: monkeypatch.setattr(driver, "pieces", lambda *_: list(pieces))


def states(out: Path) -> dict[str, str]:
    return {name: piece["state"] for name, piece in json.loads((out / "state.json").read_text())["pieces"].items()}


def test_a_piece_that_is_broken_off_goes_on_and_what_is_done_is_skipped(only, tmp_path: Path) -> None:
    count = tmp_path / "count"
    only(Piece("long", ("-c", BROKEN_OFF_ONCE, str(count)), resumable=True))
    assert call(tmp_path, "--limit", "1") == 0 and states(tmp_path) == {"long": "open"}
    for _ in range(2):
        assert call(tmp_path) == 0 and states(tmp_path) == {"long": "done"}
        assert count.read_text() == "xx"
    assert json.loads((tmp_path / "summary.json").read_text())["pieces"]["long"]["calls"] == 2


def test_what_fails_or_never_ends_holds_up_no_other_piece(only, tmp_path: Path) -> None:
    long = Piece("long", ("-c", "import time; time.sleep(60)"))
    bad, good = Piece("bad", ("-c", "raise SystemExit('no | luck')")), Piece("good", ("-c", ""))
    only(long, bad, good)
    assert call(tmp_path, "--limit", "1") == 1 and states(tmp_path) == {"long": "failed"}
    assert call(tmp_path) == 1 and states(tmp_path) == {"long": "failed", "bad": "failed", "good": "done"}
    page = (tmp_path / "summary.md").read_text()
    assert "takes longer than 1 s" in page and "no \\| luck" in page
    calls = json.loads((tmp_path / "state.json").read_text())["pieces"]
    only(Piece("bad", ("-c", "")))
    assert call(tmp_path) == 1 and json.loads((tmp_path / "state.json").read_text())["pieces"] == calls
    assert call(tmp_path, "--only", "bad") == 1 and states(tmp_path)["bad"] == "done"


def test_results_of_another_size_or_device_are_not_mixed(only, tmp_path: Path, capsys) -> None:
    only(Piece("good", ("-c", "")))
    call(tmp_path)
    with pytest.raises(SystemExit):
        driver.main(["--device", "cpu", "--out", str(tmp_path)])
    assert "another device or size" in capsys.readouterr().err


def test_all_pieces_are_listed_with_the_tests_that_need_a_card(tmp_path: Path, capsys) -> None:
    assert driver.main(["--list", "--out", str(tmp_path / "none")]) == 0 and not (tmp_path / "none").exists()
    listed = capsys.readouterr().out
    assert listed.count("open ") == len(plan.pieces(tmp_path, "cuda", False))
    assert "tests/training/test_step.py" in listed and "--limit" not in listed
    assert len({piece.name for piece in plan.pieces(tmp_path, "cuda", False)}) == listed.count("open ")


@pytest.mark.parametrize("training", plan.TRAININGS, ids=lambda training: training.name)
def test_trainings_name_what_there_is(training: plan.Training) -> None:
    suite = read_suite(training.suite)
    assert training.dataset in suite.datasets
    specs = expand(suite, training.budget, training.models, dataset=training.dataset)
    assert all(seeds[0].seed == 0 and len(seeds) >= 5 for seeds in specs.values())


def test_a_wait_is_found_without_a_card() -> None:
    x = torch.ones(3)
    for wait in (
        lambda: x.sum().item(),
        lambda: bool((x > 0).all()),
        lambda: x[x > 0],
        lambda: x.nonzero(),
        lambda: torch.eye(3).to(x),
        lambda: torch.linalg.solve(torch.eye(3, device=x.device), x),
    ):
        with pytest.raises(RuntimeError, match=r"waits for the device|on the host"), no_waits("cpu"):
            wait()
    with no_waits("cpu"):
        torch.eye(3, device=x.device) @ x + torch.tensor(1.0)
        torch.where(x > 0, x, 0)[torch.zeros(2, dtype=torch.int64, device=x.device)].clone()


@pytest.mark.parametrize(("name", "backbone"), cases(TRAINED, chosen=first_of_each_class))
def test_no_round_waits(name: str, backbone: dict) -> None:
    assert checks.wait_of(Case.of(registry.models.get(name), backbone), "cpu", "eager") == ""


def test_repeats_are_compared_by_their_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case.of(registry.models.get("gan"), DENSE)
    monkeypatch.setattr(checks, "cases", lambda tiny: [("gan", case)])
    assert checks.repeats("cpu", True) == []
    stack = Case.stack
    seeds = iter((0, 1))
    monkeypatch.setattr(Case, "stack", lambda self, *_, **options: stack(self, next(seeds), **options))
    assert checks.repeats("cpu", True) == ["gan"]


def rows(**values: list[float]) -> pd.DataFrame:
    columns = ("metric", "value", "model", "config_hash", "protocol", "role", "status")
    return pd.DataFrame(
        [(metric, v, "gan", "c", "p", "model", "measured") for metric, seeds in values.items() for v in seeds],
        columns=columns,
    )


def test_scores_that_differ_are_named() -> None:
    cpu = rows(fid=[1.0, 2, 3, 4, 5], kid=[1.0, 2, 3, 4, 5], same=[0.0] * 5, constant=[0.0] * 5, alone=[1.0, 2])
    gpu = rows(fid=[1.5, 2, 3, 4, 5], kid=[11.0, 12, 13, 14, 15], same=[0.0] * 5, constant=[1.0] * 5)
    assert checks.compare(gpu, cpu) == {"cells": 4, "inside": 2, "different": ["gan constant", "gan kid"]}
    assert checks.compare(rows(), cpu)["cells"] == 0


def test_targets_are_met_missed_or_not_measured(tmp_path: Path) -> None:
    seeds = [
        {"net": "8x8 digits", "precision": "float32", "seeds": n, "round_ms": ms} for n, ms in ((1, 1), (64, 3))
    ]
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    (tmp_path / "waits.json").write_text(json.dumps({"gan mlp eager": "waits"}))
    (tmp_path / "repeats.json").write_text("[]")
    pieces = {"suite mnist standard": {"seconds": 700.0, "state": "open"}}
    found = {target.what: target for target in summary.targets(tmp_path, pieces)}
    assert found["64 small games in the time of one, float32"][2:] == ("3.00 x", False)
    assert found["64 small games in the time of one, bf16"].met is None
    assert found["games whose rounds make the host wait"][2:] == ("gan mlp eager: waits", False)
    assert found["games whose repeats differ by a bit"].met is True
    assert found["MNIST suite, standard budget, five seeds"][2:] == ("700 s so far", None)


@pytest.mark.nightly
def test_every_piece_is_rehearsed(tmp_path: Path) -> None:
    assert call(tmp_path, "--limit", "1800") == 0, (tmp_path / "summary.md").read_text()
    assert set(states(tmp_path).values()) == {"done"}
    assert set(states(tmp_path)) == {piece.name for piece in plan.pieces(tmp_path, "cpu", True)}
    found = json.loads((tmp_path / "summary.json").read_text())
    assert len(found["runs"]) == len(plan.TRAININGS) and len(found["seeds"]) == 4


@pytest.mark.nightly
def test_the_rows_beside_opponents_are_all_among_the_pieces() -> None:
    from tests.opponents.training import comparisons

    names = {comparison.name.partition(",")[0] for comparison in comparisons("cpu", quick=True)}
    assert names == set(plan.OPPONENTS)
