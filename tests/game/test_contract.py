"""The contract of a game, for every registered model: the checks that `ganbench check` runs on anybody's."""

from __future__ import annotations

import math

import pytest

from ganbench import registry
from ganbench.checks import check_game
from ganbench.checks.case import Case, small_settings
from ganbench.game.contract import ROLES
from tests.cases import DENSE, FITTED, NAMES, TRAINED, cases, representatives


def test_all_baselines_are_registered():
    assert {"gan", "gan-2014", "wgan", "wgan-gp", "sngan", "vae", "lsgan", "fgan-kl", "real-train"} <= set(NAMES)
    assert TRAINED and FITTED


@pytest.mark.parametrize(("name", "backbone"), cases(NAMES, conv=True))
def test_a_model_keeps_the_contract(name, backbone):
    results = list(check_game(registry.models.get(name), backbone))
    assert [result for result in results if result.fault] == [] and len(results) >= 13


@pytest.mark.parametrize("name", NAMES)
def test_description(name):
    model = registry.models.get(name)
    assert model.summary.endswith(".") and len(model.summary) > 20
    assert model.game.role in ROLES
    assert model.game.supervision in ("unlabelled", "labelled", "conditional")
    assert (model.game.role == "model") == (name in TRAINED)
    for entry in model.published:
        assert entry.source and entry.dataset and entry.metric and (entry.error > 0 or math.isnan(entry.error))
        assert math.isfinite(entry.value) and (entry.comparable or entry.note)


def test_published_names_are_variants():
    for name in NAMES:
        game = registry.models.get(name).game
        assert set(game.published) <= set(game.variants or {game.name})


def test_the_cases_by_day_are_of_every_class():
    by_day = {registry.models.get(name).game for name in representatives(NAMES)}
    assert by_day == {registry.models.get(name).game for name in NAMES}


def test_settings_are_cut_where_they_are_large():
    settings = small_settings(registry.models.get("wgan"), {"kind": "mlp", "generator": [300, 5], "critic": [9]})
    assert settings["backbone"]["generator"] == [8, 5] and settings["backbone"]["critic"] == [8]
    critic = settings["critic"]
    assert [critic[key] for key in ("steps", "boost", "boost_first", "boost_every")] == [3, 3, 3, 3]
    assert critic["clip"] == registry.models.get("wgan").settings(DENSE)["critic"]["clip"] > 0


@pytest.mark.parametrize(
    ("name", "shape"),
    [("gan", (3, 8, 8)), ("graphical-gan-statespace", (4, 1, 8, 8)), ("kmeans-centroids", (3, 8, 8))],
)
def test_a_model_is_given_data_on_which_it_plays(name, shape):
    assert Case.of(registry.models.get(name)).data.data_spec.shape == shape
