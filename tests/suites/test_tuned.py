"""What may be tried of a model is what its settings declare; the tuned suite has the best trial of each."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from ganbench import registry
from ganbench.records import Choices, Search
from ganbench.suites.expand import expand
from ganbench.suites.space import Space, search_space
from ganbench.suites.suite import Suite, read_suite, suite_names
from ganbench.suites.tuned import Trial, best, tuned_name, tuned_suite, write_trials

TRIAL = Trial("gan", 0, '{"generator.optimiser.lr": 0.002}', "fid", "lower", 3.0, "measured", 1, 1.5, 6)


def space(suite: str, model: str, budget: str = "standard") -> Space:
    return search_space(expand(read_suite(suite), budget, [model], 1)[model][0])


def written(suite: Suite, trials: list[Trial], folder: Path, dataset: str = "", budget: str = "quick") -> Suite:
    dataset = dataset or suite.datasets[0]
    path = folder / f"{tuned_name(suite, dataset)}.toml"
    path.write_text(tuned_suite(suite, dataset, budget, trials), encoding="utf-8")
    return read_suite(str(path))


def test_the_space_is_that_of_rates_betas_steps_and_penalties() -> None:
    found = space("digits", "wgan-gp")
    assert {path: value for path, (value, _) in found.items()} == {
        "penalty": 10.0,
        "critic.optimiser.lr": 1e-4,
        "critic.optimiser.betas": [0.0, 0.9],
        "critic.steps": 5,
        "generator.optimiser.lr": 1e-4,
        "generator.optimiser.betas": [0.0, 0.9],
    }
    assert found["penalty"][1] == Search(0.01, 100) and found["critic.optimiser.lr"][1] == Search(1e-5, 1e-2)
    assert found["critic.steps"][1] == Choices((5, 1, 2))
    assert found["critic.optimiser.betas"][1] == Choices(([0.0, 0.9], [0.5, 0.9], [0.5, 0.999], [0.9, 0.999]))


def test_the_range_is_widened_to_the_suites_own_value() -> None:
    assert space("mixtures", "rpgan")["generator.optimiser.betas"][1].values[0] == [0.0, 0.99]  # type: ignore[union-attr]
    spec = expand(read_suite("digits"), "quick", ["gan"], 1, [("gan", "generator.optimiser.lr", 0.5)])["gan"][0]
    assert search_space(spec)["generator.optimiser.lr"] == (0.5, Search(1e-5, 0.5))


def test_what_is_off_is_not_searched_and_clipping_is_where_it_is_on() -> None:
    assert "critic.clip" in space("digits", "wgan") and "critic.clip" not in space("digits", "wgan-gp")
    assert {"r1", "r2"} <= set(space("mixtures", "rpgan-r1r2")) and "r1" not in space("mixtures", "rpgan")
    assert not any("steps" in path for path in space("digits", "gan-2014"))  # all move at once
    assert space("digits", "real-train") == {}


def test_every_model_that_learns_has_rates_to_search() -> None:
    for name in ("digits", "clustering", "mixtures", "mnist-labels", "video"):
        suite = read_suite(name)
        for model, [spec] in expand(suite, "quick", seeds=1, dataset=(*suite.datasets, "digits")[0]).items():
            learns = bool(registry.models.get(model).game.players)
            assert any(path.endswith(".lr") for path in search_space(spec)) == learns, (name, model)


def test_the_best_trial_has_a_value_and_comes_first_of_equals() -> None:
    trials = [replace(TRIAL, trial=i, value=v) for i, v in enumerate([math.nan, 3.0, 2.0, 2.0, 5.0])]
    assert best(trials)["gan"].trial == 2
    assert best([replace(trial, better="higher") for trial in trials])["gan"].trial == 4
    assert best(trials[:1]) == {}


def test_the_tuned_suite_has_the_chosen_settings_of_the_tuned_models_and_the_references(
    suite: Path, tmp_path: Path
) -> None:
    old = read_suite(str(suite))
    trials = [TRIAL, replace(TRIAL, trial=1, value=2.0, settings='{"generator.optimiser.lr": 0.005}')]
    new = written(old, trials, tmp_path)
    assert new.name == "tiny-tuned"
    assert (
        new.models == ("gan", "real-train") != old.models
    )  # the VAE, which nobody tuned, does not pass for tuned
    same = {"name", "summary", "models", "settings"}
    assert {k: v for k, v in asdict(new).items() if k not in same} == {
        k: v for k, v in asdict(old).items() if k not in same
    }
    assert "# gan: trial 1 of 2, fid 2 on validation data\n" in (tmp_path / "tiny-tuned.toml").read_text()
    spec, before = (expand(one, "quick", ["gan"], 1)["gan"][0].settings for one in (new, old))
    assert before["generator"]["optimiser"]["lr"] == 2e-4
    before["generator"]["optimiser"]["lr"] = 0.005
    assert spec == before


def test_a_model_without_any_value_keeps_its_place_and_its_settings(suite: Path, tmp_path: Path) -> None:
    old = read_suite(str(suite))
    new = written(old, [replace(TRIAL, value=math.nan, status="diverged: at round 3")], tmp_path)
    assert new.models == ("gan", "real-train") and new.settings == {}
    assert "# gan: none of 1 trials has a value" in (tmp_path / "tiny-tuned.toml").read_text()


# Settings of all models that have them, whole optimisers, settings of budgets: the other suites have fewer kinds.
MANY_SETTINGS = ("digits", "mixtures", "stacked-mnist")
SUITES = [pytest.param(s, marks=[] if s in MANY_SETTINGS else [pytest.mark.nightly]) for s in suite_names()]


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_tuned_and_no_budget_of_it_undoes_the_choice(name: str, tmp_path: Path) -> None:
    """Of one model alone, too: settings of all models that have them must not miss the others."""
    suite = read_suite(name)
    dataset = (*suite.datasets, "digits")[0]
    plans = expand(suite, "quick", seeds=1, dataset=dataset)
    for models in (list(plans), [next(model for model, [spec] in plans.items() if search_space(spec))]):
        chosen = {}
        for model in models:
            for path, (value, search) in search_space(plans[model][0]).items():
                other = search.values[-1] if isinstance(search, Choices) else value * 0.5
                chosen.setdefault(model, {})[path] = other
        trials = [replace(TRIAL, model=model, settings=json.dumps(found)) for model, found in chosen.items()]
        new = written(suite, trials, tmp_path, dataset)
        assert set(new.budgets) == set(suite.budgets) and new.datasets == (dataset,)
        for budget in new.budgets:
            tuned = expand(new, budget)
            assert set(chosen) <= set(tuned)
            for model, found in chosen.items():
                assert {path: search[0] for path, search in search_space(tuned[model][0]).items()} == found


def test_a_budget_that_would_undo_the_choice_loses_to_it(suite: Path, tmp_path: Path) -> None:
    own = {"gan.generator.optimiser.lr": 0.5, "*.discriminator.optimiser.lr": 0.5, "gan.latent": 7}
    old = read_suite(str(suite))
    old = replace(old, budgets={"quick": replace(old.budgets["quick"], settings=own)})
    new = written(old, [TRIAL], tmp_path)
    assert set(new.budgets["quick"].settings) == set(own) - {"gan.generator.optimiser.lr"}
    assert expand(new, "quick", ["gan"])["gan"][0].settings["generator"]["optimiser"]["lr"] == 0.002


@pytest.mark.parametrize(
    "dataset,name",
    [("ring", "mixtures-ring-tuned"), ("npz:My data/a.npz", "mixtures-npz-my-data-a-npz-tuned")],
)
def test_the_name_tells_the_dataset_and_is_fit_for_files(dataset: str, name: str, tmp_path: Path) -> None:
    assert written(read_suite("mixtures"), [TRIAL], tmp_path, dataset).name == name


def test_trials_survive_a_file(tmp_path: Path) -> None:
    trials = [TRIAL, replace(TRIAL, trial=1, value=math.nan, status="diverged: NaN, or so")]
    (tmp_path / "t.csv").write_text(write_trials(trials), encoding="utf-8")
    frame = pd.read_csv(tmp_path / "t.csv")
    assert list(frame) == list(asdict(TRIAL)) and json.loads(frame["settings"][0]) == json.loads(TRIAL.settings)
    assert frame["value"].tolist()[0] == 3.0 and math.isnan(frame["value"][1])
