"""Equal tuning: equally many trials for all, repeatable, and blind to the test items."""

import json
import math
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ganbench import datasets
from ganbench.errors import UserError
from ganbench.execution import tuning
from ganbench.execution.tuning import models_to_tune, tune
from ganbench.reporting.publish import publish_rows
from ganbench.suites.expand import expand
from ganbench.suites.space import search_space
from ganbench.suites.suite import read_suite
from ganbench.suites.tuned import Trial, best

Cli = Callable[..., Any]


def search(
    suite: Path, out: Path, models: Sequence[str] = ("gan", "vae"), trials: int = 3, **more: Any
) -> list[Trial]:
    return tune(str(suite), "digits", models, trials, "quick", out=out, device="cpu", engine="eager", **more)


def test_only_what_can_be_searched_and_judged_is_tuned(suite: Path) -> None:
    tiny = read_suite(str(suite))
    assert models_to_tune(tiny, "quick", "digits") == ["gan", "vae"]
    with pytest.raises(UserError, match="cannot tune real-train: none of its settings declares what to try"):
        models_to_tune(tiny, "quick", "digits", ["gan", "real-train"])
    clustering = read_suite("clustering")
    assert "ali" not in models_to_tune(clustering, "quick", "digits")
    with pytest.raises(UserError, match="cannot tune ali: cluster-accuracy needs cluster, which it lacks"):
        models_to_tune(clustering, "quick", "digits", ["ali"])


def test_a_suite_without_datasets_takes_the_users() -> None:
    assert "gan" in models_to_tune(read_suite("images"), "quick", "npz:mine.npz")


def test_all_models_get_equally_many_trials_and_the_first_is_the_suites_own(suite: Path, tmp_path: Path) -> None:
    heard: list[Trial] = []
    trials = search(suite, tmp_path, tell=heard.append)
    assert heard == trials
    assert [(t.model, t.trial) for t in trials] == [(model, i) for model in ("gan", "vae") for i in range(3)]
    for trial in trials[::3]:
        [spec] = expand(read_suite(str(suite)), "quick", [trial.model], 1)[trial.model]
        assert json.loads(trial.settings) == {path: value for path, (value, _) in search_space(spec).items()}
    assert len({t.settings for t in trials}) == 6 and all(t.status == "measured" for t in trials)
    assert trials[0].steps == 20 * 2 and trials[0].seconds > 0


def test_a_search_goes_on_where_it_stopped_and_two_processes_find_the_same(suite: Path, tmp_path: Path) -> None:
    broken = search(suite, tmp_path / "a", trials=2)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").glob("**/weights.safetensors")}
    assert len(files) == 2 * 2
    longer = search(suite, tmp_path / "a", trials=3)
    assert [trial for trial in longer if trial.trial < 2] == broken
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())  # nothing was trained twice
    straight = search(suite, tmp_path / "b", trials=3, workers=2)
    assert [(t.settings, t.value) for t in straight] == [(t.settings, t.value) for t in longer]


def test_validation_items_decide_and_no_test_item_is_seen(suite: Path, tmp_path: Path) -> None:
    data, held = datasets.load("digits"), datasets.load("validation:digits")
    assert len(data.images["validation"]) != len(data.images["test"])  # the premise of the last line
    assert torch.equal(held.images["test"], data.images["validation"])
    assert torch.equal(held.images["train"], data.images["train"])
    assert torch.equal(held.labels["test"], data.labels["validation"])
    [trial] = search(suite, tmp_path, ["gan"], trials=1)
    [path] = (tmp_path / "tiny" / "gan").glob("*/scores.csv")
    row = pd.read_csv(path).iloc[0]
    assert row["value"] == trial.value and row["dataset"] == "validation:digits"
    assert f"{len(data.images['validation'])} test images" in row["protocol"]


def test_the_runs_of_a_trial_are_none_of_the_table(suite: Path, finished: Path, tmp_path: Path) -> None:
    search(suite, tmp_path, ["vae"], trials=1)
    [trial] = (tmp_path / "tiny" / "vae").glob("*/log.csv")
    logs = [path.read_text() for path in (finished / "tiny" / "vae").glob("*/log.csv")]
    assert len(logs) == 2 and trial.read_text() not in logs  # other random streams though seed 0 is among them


def test_no_trial_is_published(suite: Path, tmp_path: Path) -> None:
    search(suite, tmp_path / "runs", ("gan",), 1)
    assert list((tmp_path / "runs").glob("*/gan/*/scores.csv"))  # with the suite's own settings and today's code
    with pytest.raises(UserError, match="has the suite's settings and today's code"):
        publish_rows(read_suite(str(suite)), "quick", tmp_path / "runs", tmp_path / "results")


def test_the_worst_is_what_diverges(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seeds, one of which diverges, have no value; so has a trial whose settings do not fit together."""
    plain = tuning.run

    def run(*arguments: Any, **options: Any) -> pd.DataFrame:
        rows = plain(*arguments, **options)
        calls.append(1)
        if len(calls) == 1:
            rows.loc[rows.index[0], ["value", "status", "reason"]] = math.nan, "diverged", "at round 3"
        elif len(calls) == 2:
            raise UserError("these do not fit together")
        return rows

    calls: list[int] = []
    monkeypatch.setattr(tuning, "run", run)
    trials = search(suite, tmp_path, ["gan"], seeds=2)
    assert [t.status for t in trials] == [
        "diverged: at round 3",
        "failed: these do not fit together",
        "measured",
    ]
    assert [math.isnan(t.value) for t in trials] == [True, True, False] and best(trials)["gan"].trial == 2


def test_a_model_that_fails_with_its_own_settings_stops_no_other(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tuning.run

    def run(*arguments: Any, models: Sequence[str], **options: Any) -> pd.DataFrame:
        if "gan" in models:
            raise UserError("gan: broken")
        return plain(*arguments, models=models, **options)

    monkeypatch.setattr(tuning, "run", run)
    heard: list[Trial] = []
    with pytest.raises(UserError, match=r"^gan: broken$"):
        search(suite, tmp_path, trials=1, tell=heard.append)
    assert [trial.model for trial in heard] == ["vae"]


def test_the_command_writes_a_suite_that_runs_and_all_trials(ganbench: Cli, suite: Path, tmp_path: Path) -> None:
    common = "--device", "cpu", "--engine", "eager", "--out", tmp_path / "runs"
    answer = ganbench("tune", "--suite", suite, "--models", "vae", "--trials", 2, "--to", tmp_path, *common)
    assert answer.code == 0 and answer.err == "", answer
    assert "vae: trial 2 of 2: fid@mlp-digits-v1 " in answer.out
    trials = pd.read_csv(tmp_path / "tiny-tuned.csv")
    chosen = json.loads(trials["settings"][trials["value"].idxmin()])
    table = ganbench("run", "--suite", tmp_path / "tiny-tuned.toml", "--seeds", 1, *common)
    assert table.code == 0 and "trained 2 of 2 runs" in table.out, table
    [spec] = (tmp_path / "runs" / "tiny-tuned" / "vae").glob("*/spec.json")
    optimiser = json.loads(spec.read_text())["settings"]["vae"]["optimiser"]
    assert {f"vae.optimiser.{key}": optimiser[key] for key in ("lr", "betas")} == chosen
    assert tomllib.loads((tmp_path / "tiny-tuned.toml").read_text())["version"] == 1


@pytest.mark.parametrize(
    "options,message",
    [
        (("--trials", 0), "--trials must be at least 1, got 0"),
        (("--seeds", 0), "--seeds must be at least 1, got 0"),
        (("--workers", 0), "--workers must be at least 1, got 0"),
        (("--models", "gann"), "unknown model 'gann'; did you mean gan"),
        (("--models", "real-train"), "cannot tune real-train: none of its settings"),
        (("--dataset", "digts", "--models", "gan"), "unknown dataset 'digts'; did you mean digits"),
        (("--dataset", "digits,mnist"), "--dataset: settings are chosen for one dataset at a time"),
        (("--budget", "qick"), "unknown budget 'qick'; did you mean quick?"),
        (("--to", "/proc/nowhere"), "--to /proc/nowhere cannot be written"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    ganbench: Cli, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = ganbench("tune", "--suite", suite, "--device", "cpu", *options)
    assert answer.code == 2 and len(answer.err.splitlines()) == 1 and message in answer.err, answer
    assert not list(tmp_path.glob("*.toml")) and not list(tmp_path.glob("**/spec.json"))
