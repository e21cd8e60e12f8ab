"""Equal tuning: what is searched, that it is equally much, repeatable, and blind to the test items."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ganbench import datasets
from ganbench.errors import UserError
from ganbench.execution import tuning
from ganbench.execution.tuning import Trial, best, models_to_tune, tune, tuned_name, tuned_suite
from ganbench.records import Choices, Search
from ganbench.suites.expand import expand
from ganbench.suites.space import search_space
from ganbench.suites.suite import read_suite

SUITE = """name = "small"
version = 1
summary = "for tests"
datasets = ["digits"]
metrics = ["fid@mlp-digits-v1", "kid@mlp-digits-v1"]
models = ["gan", "wgan-gp", "real-train"]

[backbone]
kind = "mlp"
generator = [8]
critic = [8]

[budgets.quick]
rounds = 3
seeds = 2
batch = 20
samples = 500

[settings]
"gan.latent" = 5
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return str(path)


def space(suite: str, model: str) -> dict:
    [spec] = expand(read_suite(suite), "quick", [model], 1)[model]
    return search_space(spec)


def run(suite: str, tmp_path: Path, models: Sequence[str] = ("gan",), trials: int = 3, **options) -> list[Trial]:
    return tune(suite, "digits", list(models), trials, "quick", out=tmp_path / "runs", **options)


def test_the_space_is_that_of_rates_betas_steps_and_penalties() -> None:
    found = space("digits", "wgan-gp")
    assert set(found) == {
        "penalty",
        "critic.steps",
        "critic.optimiser.lr",
        "critic.optimiser.betas",
        "generator.optimiser.lr",
        "generator.optimiser.betas",
    }
    value, rate = found["generator.optimiser.lr"]
    assert isinstance(rate, Search) and rate.low <= value <= rate.high
    value, steps = found["critic.steps"]
    assert isinstance(steps, Choices) and value == 5 and set(steps.values) == {1, 2, 5}
    assert found["penalty"][0] == 10.0


def test_what_is_off_is_not_searched_and_clipping_is_where_it_is_on() -> None:
    assert "critic.clip" in space("digits", "wgan") and "critic.clip" not in space("digits", "wgan-gp")
    assert not any("steps" in path for path in space("digits", "gan-2014"))  # all move at once
    assert space("digits", "real-train") == {}


def test_references_are_not_tuned(suite: str) -> None:
    assert models_to_tune(suite, [], "quick") == ["gan", "wgan-gp"]
    with pytest.raises(UserError, match="real-train: nothing to tune"):
        models_to_tune(suite, ["real-train"], "quick")


def test_all_models_get_equally_many_trials_and_the_first_is_the_suites_own(suite: str, tmp_path: Path) -> None:
    heard: list[Trial] = []
    trials = run(suite, tmp_path, ("gan", "wgan-gp"), tell=heard.append)
    assert heard == trials
    assert [(t.model, t.trial) for t in trials] == [(m, i) for m in ("gan", "wgan-gp") for i in range(3)]
    for trial in trials[::3]:
        own = {path: value for path, (value, _) in space(suite, trial.model).items()}
        assert json.loads(trial.settings) == own
    assert len({t.settings for t in trials}) == 6 and all(t.status == "measured" for t in trials)
    assert trials[0].steps == 3 * 2 and trials[0].seconds > 0


def test_a_search_is_found_again_and_is_the_same_in_two_processes(suite: str, tmp_path: Path) -> None:
    first = run(suite, tmp_path, ("gan", "wgan-gp"))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("**/weights.safetensors")}
    assert len(files) == 6
    longer = run(suite, tmp_path, ("gan", "wgan-gp"), trials=4)
    assert [t for t in longer if t.trial < 3] == first  # nothing was trained twice
    assert all(path.stat().st_mtime_ns == time for path, time in files.items())
    elsewhere = run(suite, tmp_path / "two", ("gan", "wgan-gp"), workers=2)
    assert [(t.settings, t.value) for t in elsewhere] == [(t.settings, t.value) for t in first]


def test_settings_are_chosen_on_validation_data(suite: str, tmp_path: Path) -> None:
    data, held = datasets.load("digits"), datasets.load("validation:digits")
    assert not torch.equal(data.images["validation"], data.images["test"])  # the premise
    assert torch.equal(held.images["test"], data.images["validation"])
    assert torch.equal(held.images["train"], data.images["train"])
    assert torch.equal(held.labels["test"], data.labels["validation"])
    run(suite, tmp_path, trials=1)
    [folder] = (tmp_path / "runs" / "small" / "gan").iterdir()
    spec = json.loads((folder / "spec.json").read_text())
    assert spec["dataset"] == "validation:digits" and spec["seed"] == 0
    assert f"{len(data.images['validation'])} test images" in (folder / "scores.csv").read_text()
    assert len(data.images["validation"]) != len(data.images["test"])


TRIAL = Trial("gan", 0, '{"generator.optimiser.lr": 0.002}', "fid", "lower", 3.0, "measured", 1, 1.0, 6)


def test_the_best_trial_has_a_value_and_comes_first_of_equals() -> None:
    trials = [replace(TRIAL, trial=i, value=v) for i, v in enumerate([math.nan, 3.0, 2.0, 2.0, 5.0])]
    assert best(trials)["gan"].trial == 2
    assert best([replace(t, better="higher") for t in trials])["gan"].trial == 4
    assert best([trials[0]]) == {}


def test_the_tuned_suite_is_a_suite_with_the_chosen_settings(suite: str, tmp_path: Path) -> None:
    trials = [TRIAL, replace(TRIAL, trial=1, value=2.0, settings='{"generator.optimiser.lr": 0.005}')]
    path = tmp_path / f"{tuned_name(suite, 'digits')}.toml"
    path.write_text(tuned_suite(suite, "digits", "quick", trials))
    old, new = read_suite(suite), read_suite(str(path))
    assert (new.name, new.datasets, new.version) == ("small-tuned", ("digits",), 1)
    assert (new.metrics, new.budgets, new.backbone) == (old.metrics, old.budgets, old.backbone)
    assert new.models == ("gan", "real-train") != old.models  # what was not tuned does not pass for it
    spec, before = (expand(s, "quick", ["gan"], 1)["gan"][0] for s in (new, old))
    assert before.settings["generator"]["optimiser"]["lr"] == 2e-4
    assert spec.settings["generator"]["optimiser"]["lr"] == 0.005
    assert spec.settings["latent"] == before.settings["latent"] == 5
    path.write_text(tuned_suite(suite, "digits", "quick", trials[:1]))
    assert expand(read_suite(str(path)), "quick", ["gan"], 1)["gan"][0].settings == before.settings


@pytest.mark.parametrize("option", ["trials", "seeds", "workers"])
def test_less_than_one_is_refused(suite: str, tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"--{option} must be at least 1, got 0"):
        run(suite, tmp_path, **{option: 0})


def test_a_trial_that_fails_costs_no_other(suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, calls = tuning.run, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise UserError("these settings do not fit together")
        return plain(*args, **options)

    monkeypatch.setattr(tuning, "run", failing)
    trials = run(suite, tmp_path)
    assert [t.status for t in trials] == ["measured", "these settings do not fit together", "measured"]
    assert math.isnan(trials[1].value) and best(trials)["gan"].trial != 1
