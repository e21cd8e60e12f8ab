"""Suites, budgets and run specifications."""

import importlib.metadata
import json
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ganbench import datasets, registry
from ganbench.errors import UserError
from ganbench.evaluation.measure import find
from ganbench.records import fingerprint, from_json, to_json
from ganbench.suites.expand import expand, parse_assignment, parse_literal
from ganbench.suites.spec import RunSpec, read_spec, write_spec
from ganbench.suites.suite import Budget, Suite, read_suite, suite_files, suite_names

SPEC = RunSpec(
    suite="s",
    version=1,
    budget="quick",
    dataset="digits",
    model="gan",
    settings={"latent": 3, "generator": {"steps": 1, "lr": 0.1}},
    changed={"generator": {"lr": 0.1}},
    seed=0,
    rounds=10,
    batch=5,
    ema=0.0,
    samples=100,
)


def made(path: Path, text: str) -> Suite:
    """Return the suite of a file with that text."""
    path.write_text(text, encoding="utf-8")
    return read_suite(str(path))


@pytest.fixture
def text(suite: Path) -> str:
    """Return the text of a valid suite file."""
    return suite.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suite_names_what_exists(name: str) -> None:
    suite = read_suite(name)
    assert suite.name == name
    assert len(set(suite.metrics)) == len(suite.metrics)
    for metric in suite.metrics:
        find(metric)
    assert set(suite.datasets) <= set(registry.datasets.names())


@pytest.mark.parametrize(
    ("name", "budget"), [(name, budget) for name in suite_names() for budget in read_suite(name).budgets]
)
def test_shipped_suite_expands_for_each_budget(name: str, budget: str) -> None:
    suite = read_suite(name)
    plan = expand(suite, budget, dataset="" if suite.datasets else "digits")
    assert plan
    for model, specs in plan.items():
        assert [spec.seed for spec in specs] == list(range(suite.budgets[budget].seeds))
        assert {spec.model for spec in specs} == {model} and len({spec.config_hash for spec in specs}) == 1
        assert specs[0].rounds == suite.budgets[budget].rounds
    hashes = [spec.hash for specs in plan.values() for spec in specs]
    assert len(set(hashes)) == len(hashes)


def test_shipped_suite_fits_its_extractors() -> None:
    """A suite whose dataset needs no files must be measurable with all its metrics."""
    data = datasets.load("digits")
    for metric in read_suite("digits").metrics:
        _, extractor = find(metric)
        if extractor:
            assert registry.extractors.get(extractor).shape in (None, data.data_spec.shape)


def test_hash_is_golden() -> None:
    """A change here moves every run folder: old runs would be trained again."""
    assert SPEC.config_hash == "fad56eda" and SPEC.hash == "3150adf2ff98"


def test_hash_is_that_of_the_sorted_compact_json() -> None:
    assert fingerprint({"b": [1, 2.5, None], "a": "ü"}) == fingerprint({"a": "ü", "b": [1, 2.5, None]})
    assert fingerprint({"b": 1}) != fingerprint({"b": 1.0}) != fingerprint({"b": "1"})


@pytest.mark.parametrize("name", [field.name for field in fields(RunSpec)])
def test_every_field_changes_the_hash(name: str) -> None:
    old = getattr(SPEC, name)
    new: Any = {"latent": 4} if isinstance(old, dict) else old + "x" if isinstance(old, str) else old + 1
    silent = name in ("settings", "snapshots")  # `changed` speaks for the settings; snapshots decide no number
    assert (replace(SPEC, **{name: new}).hash == SPEC.hash) == silent


def test_seeds_share_a_config_hash() -> None:
    assert replace(SPEC, seed=1).config_hash == SPEC.config_hash != replace(SPEC, rounds=11).config_hash
    deep = {"generator": {"lr": 0.1 + 1e-12}}
    assert replace(SPEC, changed=deep).config_hash != SPEC.config_hash


def test_spec_survives_its_file(tmp_path: Path) -> None:
    for specs in expand(read_suite("digits"), "quick").values():
        (tmp_path / "spec.json").write_text(write_spec(specs[1]), encoding="utf-8")
        back = read_spec(tmp_path)
        assert back == specs[1] and back.hash == specs[1].hash
        assert registry.models.get(back.model).read(back.settings)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"suite": "s"}', "extra", "type", "../../suite", "../../model", "../../budget"]
)
def test_damaged_spec_is_named(tmp_path: Path, damage: str) -> None:
    values = to_json(SPEC)
    names = {f"../../{key}": {**values, key: f"../../{key}"} for key in ("suite", "model", "budget")}
    changed = {"extra": {**values, "more": 1}, "type": {**values, "seed": "0"}, **names}.get(damage)
    (tmp_path / "spec.json").write_text(json.dumps(changed) if changed else damage, encoding="utf-8")
    with pytest.raises(UserError, match=rf"^'{tmp_path}' is not a run folder: "):
        read_spec(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1e-4", 1e-4),
        ("-0.5", -0.5),
        ("true", True),
        ("[0.5, 0.9]", [0.5, 0.9]),
        ('"5"', "5"),
        ("minimax", "minimax"),
        ("linear-decay", "linear-decay"),
        ("", ""),
        ("2020-01-01", "2020-01-01"),
        ("5\nother = 6", "5\nother = 6"),
        ("{kind = 'sgd', lr = 0.1}", {"kind": "sgd", "lr": 0.1}),
    ],
)
def test_literals(text: str, value: object) -> None:
    assert parse_literal(text) == value and type(parse_literal(text)) is type(value)


def test_assignment() -> None:
    assert parse_assignment("wgan-gp.critic.optimiser.lr = 1e-3") == ("wgan-gp", "critic.optimiser.lr", 1e-3)
    assert parse_assignment("gan.cost=a=b") == ("gan", "cost", "a=b")
    for text in ("gan.latent", "gan=3", "=3", ".latent=3", "gan.=3", ""):
        with pytest.raises(UserError, match=r"^--set expects model.key=value, got "):
            parse_assignment(text)


def test_settings_of_suite_budget_and_user_in_this_order(tmp_path: Path, text: str) -> None:
    suite = made(
        tmp_path / "a.toml",
        text + '[settings]\n"*.latent" = 5\n"gan.latent" = 6\n[budgets.quick.settings]\n"vae.latent" = 7\n',
    )
    models = ["gan", "vae", "wgan"]
    plan = expand(suite, "quick", models)
    assert [plan[model][0].settings["latent"] for model in models] == [6, 7, 5]
    plan = expand(suite, "quick", models, assignments=[("*", "latent", 8), ("vae", "latent", 9)])
    assert [plan[model][0].settings["latent"] for model in models] == [8, 9, 8]


def test_setting_reaches_the_player_and_the_backbone(text: str, tmp_path: Path) -> None:
    sets = [parse_assignment(one) for one in ("gan.generator.steps=2", "gan.backbone.critic=[8, 8]")]
    settings = expand(made(tmp_path / "a.toml", text), "quick", ["gan"], 1, sets)["gan"][0].settings
    assert settings["generator"]["steps"] == 2 and settings["backbone"]["critic"] == [8, 8]
    assert settings["backbone"]["generator"] == [16]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('"gann.latent" = 5', "unknown model 'gann'; did you mean gan"),
        ('"gan.latnt" = 5', "unknown setting of gan 'latnt'; did you mean latent"),
        ('"*.no_such" = 5', "unknown setting of all models 'no_such'"),
        ('"gan.latent" = "five"', "setting of gan: latent: .*valid integer, got 'five'"),
        ('"gan.generator.lr" = 1.0', "unknown setting of gan 'generator.lr'"),
    ],
)
def test_wrong_setting_in_a_suite_is_an_error(tmp_path: Path, text: str, settings: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expand(made(tmp_path / "a.toml", f"{text}\n[settings]\n{settings}\n"), "quick")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "tiny"', 'name = "tiny', "suite file '.*': .*line 2"),
        ('name = "tiny"', 'name = "../tiny"', "name: .*pattern"),
        ("[budgets.quick]", '[budgets."../../q"]', "budgets.*pattern.*got '../../q'"),
        ('name = "tiny"', 'title = "tiny"', "name: .*required"),
        ("version = 1", 'version = "1"', "version: .*valid integer, got '1'"),
        ("rounds = 20", "round = 20", "budgets.quick.rounds: .*required"),
        ("rounds = 20", "rounds = 20\nspeed = 3", "budgets.quick.speed: Unexpected keyword"),
        ("rounds = 20", "rounds = 0", "budgets.quick.rounds: .*greater than or equal to 1"),
        ("seeds = 2", "seeds = 0", "budgets.quick.seeds: .*greater than or equal to 1"),
        ("batch = 50", "batch = -1", "budgets.quick.batch: .*greater than or equal to 1"),
        ("samples = 200", "ema = 1.0", "budgets.quick.ema: .*less than 1"),
        ("rounds = 20", "rounds = 2020-01-01", "suite file '.*': "),
        ("version = 1", "version = 1\nspeed = 3", "speed: Unexpected keyword"),
    ],
)
def test_malformed_suite_is_one_line(tmp_path: Path, text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(UserError, match=message) as caught:
        made(tmp_path / "a.toml", text.replace(old, new))
    assert str(tmp_path / "a.toml") in str(caught.value) and "\n" not in str(caught.value)


def test_suite_without_metrics_or_that_is_no_text_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"metrics: .*at least 1"):
        made(
            tmp_path / "a.toml", text.replace('["fid@mlp-digits-v1", "reconstruction-mse", "authenticity"]', "[]")
        )
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"b\.toml'"):
        read_suite(str(tmp_path / "b.toml"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """Return the folder of an installed package of somebody else that brings suites."""
    folder = tmp_path / "their_suites"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "theirs.toml").write_text(text.replace('name = "tiny"', 'name = "theirs"'), encoding="utf-8")
    monkeypatch.delitem(sys.modules, "their_suites", raising=False)  # of the test before
    monkeypatch.syspath_prepend(tmp_path)
    entries = importlib.metadata.EntryPoint("theirs", "their_suites", "ganbench.suites")
    known = importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [*known(group=group), entries])
    return folder


def test_a_package_brings_suites_by_its_entry_point(package: Path) -> None:
    assert {"digits", "theirs"} <= set(suite_names()) and suite_files()["theirs"] == package / "theirs.toml"
    assert read_suite("theirs").name == "theirs"
    with pytest.raises(UserError, match=r"unknown suite 'their'; did you mean theirs\?"):
        read_suite("their")


def test_two_suites_of_one_name_are_an_error(package: Path) -> None:
    (package / "digits.toml").write_text("")
    with pytest.raises(UserError, match=r"^suite 'digits' comes from two packages; rename '.*digits.toml'"):
        suite_names()


def test_a_package_that_is_gone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = importlib.metadata.EntryPoint("gone", "gone_suites", "ganbench.suites")
    known = importlib.metadata.entry_points
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [gone, *known(group=group)])
    with pytest.warns(UserWarning, match="suites of 'gone_suites' could not be found"):
        assert "digits" in suite_names()


@pytest.mark.parametrize("command", ["run", "measure", "leaderboard", "publish"])
def test_every_command_takes_a_suite_from_a_file(
    command: str, suite: Path, runs: Path, tmp_path: Path, ganbench: Callable
) -> None:
    own = {
        "run": ("--out", runs, "--device", "cpu"),
        "measure": (runs, "--device", "cpu"),
        "leaderboard": ("--out", runs, "--format", "md"),
        "publish": ("--out", runs, "--budget", "quick", "--results", tmp_path / "results"),
    }[command]
    answer = ganbench(command, "--suite", suite, *own)
    assert answer.code == 0, answer.err
    said = {
        "run": "all 6 runs are finished",
        "measure": "measured 6 runs",
        "leaderboard": "## tiny v1, budget quick",
    }
    assert said.get(command, "tiny-v1-quick.csv") in answer.out


@pytest.mark.parametrize(
    ("patterns", "models"),
    [
        (["vae*"], ["vae", "vae-gaussian"]),
        (["gan-m*", "real-train"], ["gan-maximum-likelihood", "gan-minimax", "real-train"]),
        (["GAN"], None),
        ([], None),
    ],
)
def test_model_patterns(tmp_path: Path, text: str, patterns: list[str], models: list[str] | None) -> None:
    suite = made(tmp_path / "a.toml", text.replace('["gan", "vae", "real-train"]', json.dumps(patterns)))
    if models is None:
        with pytest.raises(UserError, match="see ganbench list models"):
            expand(suite, "quick")
    else:
        assert list(expand(suite, "quick")) == models


def test_wanted_models_need_not_be_of_the_suite(text: str, tmp_path: Path) -> None:
    assert list(expand(made(tmp_path / "a.toml", text), "quick", ["wgan", "gan"])) == ["wgan", "gan"]


def test_own_dataset_is_part_of_the_specification(text: str, tmp_path: Path) -> None:
    suite = made(tmp_path / "a.toml", text)
    plain, own = (expand(suite, "quick", ["gan"], dataset=name)["gan"][0] for name in ("", "npz:data/mine.npz"))
    assert (plain.dataset, own.dataset) == ("digits", "npz:data/mine.npz") and plain.hash != own.hash
    with pytest.raises(UserError, match="suite tiny needs --dataset"):
        expand(replace(suite, datasets=()), "quick")


def test_more_seeds_keep_the_first_ones(text: str, tmp_path: Path) -> None:
    suite = made(tmp_path / "a.toml", text)
    two, four = (expand(suite, "quick", ["gan"], count)["gan"] for count in (2, 4))
    assert [spec.hash for spec in four[:2]] == [spec.hash for spec in two]
    for count in (0, -1):
        with pytest.raises(UserError, match=f"--seeds must be at least 1, got {count}"):
            expand(suite, "quick", seeds=count)


def test_defaults_of_a_budget() -> None:
    budget = from_json(Budget, {"rounds": 1, "seeds": 1})
    assert (budget.batch, budget.samples, budget.ema, budget.settings) == (100, 10_000, 0.0, {})


def test_a_setting_for_all_reaches_those_that_have_it(tmp_path: Path, text: str) -> None:
    suite = made(tmp_path / "a.toml", text + '[settings]\n"*.latent" = 5\n"*.decoder" = "gaussian"\n')
    plan = expand(suite, "quick")
    assert plan["gan"][0].settings["latent"] == plan["vae"][0].settings["latent"] == 5
    assert plan["vae"][0].settings["decoder"] == "gaussian" and "decoder" not in plan["gan"][0].settings
    assert "latent" not in plan["real-train"][0].settings
    assert expand(suite, "quick", ["gan"])["gan"] == plan["gan"]  # a part of the models changes nothing
    with pytest.raises(UserError, match="unknown setting of all models 'decoder'"):
        expand(suite, "quick", ["gan"], assignments=[("*", "decoder", "gaussian")])


def test_a_later_setting_wins_over_what_it_is_part_of(tmp_path: Path, text: str) -> None:
    """Though a setting for all models named the same place before."""
    lines = """[settings]
"*.generator.optimiser.lr" = 0.1
"gan.generator.optimiser" = { kind = "rmsprop", lr = 0.2 }
"gan.generator.optimiser.lr" = 0.3
"""
    settings = expand(made(tmp_path / "s.toml", text + lines), "quick", ["gan"])["gan"][0].settings
    assert settings["generator"]["optimiser"]["kind"] == "rmsprop"
    assert settings["generator"]["optimiser"]["lr"] == 0.3


def test_snapshots_are_part_of_a_specification(tmp_path: Path, text: str) -> None:
    suite = made(tmp_path / "a.toml", text.replace("samples = 200", "samples = 200\nsnapshots = 4"))
    assert expand(suite, "quick")["gan"][0].snapshots == 4
    with pytest.raises(UserError, match="snapshots"):
        made(tmp_path / "b.toml", text.replace("samples = 200", "samples = 200\nsnapshots = -1"))
