"""Settings of a model: plain values by dotted path, and the errors of bad ones."""

from __future__ import annotations

import pytest
import torch

from ganbench import registry
from ganbench.checks.case import small_settings
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec
from ganbench.game.optimisers import SGD
from ganbench.layers.networks import MLP, Conv
from ganbench.records import to_json
from ganbench.suites.suite import read_suite, suite_names
from tests.cases import CONV, DENSE, NAMES


def test_settings_are_set_by_path_and_the_last_one_wins():
    model = registry.models.get("wgan-gp")
    settings = model.settings(DENSE, {"penalty": 3.0, "critic.steps": 2}, {"penalty": 4.0})
    config, players = model.read(settings)
    assert config.penalty == 4.0 and players[0].steps == 2 and players[0].optimiser.lr == 1e-4
    assert config.backbone == MLP(generator=(12, 12), critic=(10, 10))
    assert model.settings(CONV)["backbone"] == to_json(Conv(width=4))


def test_settings_reach_fields_that_the_suite_leaves_at_their_defaults():
    model = registry.models.get("gan")
    settings = model.settings(DENSE, {"backbone.critic_activation": "elu"})
    assert settings["backbone"] == {**to_json(MLP()), **DENSE, "critic_activation": "elu"}
    settings = model.settings(DENSE, {"backbone": {"kind": "conv"}, "backbone.width": 8})
    assert settings["backbone"] == to_json(Conv(width=8))
    settings = model.settings(DENSE, {"generator.optimiser": {"kind": "sgd"}, "generator.optimiser.momentum": 0.9})
    assert settings["generator"]["optimiser"] == to_json(SGD(momentum=0.9))


def test_settings_of_one_model_never_leak_into_another():
    backbone = {**DENSE, "generator": [12, 12]}
    changed = registry.models.get("gan").settings(backbone, {"backbone.generator": [7]})
    assert changed["backbone"]["generator"] == [7]
    assert backbone == DENSE
    assert registry.models.get("lsgan").settings(backbone)["backbone"]["generator"] == [12, 12]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"penalti": 3.0}, r"unknown setting of wgan-gp 'penalti'; did you mean penalty"),
        ({"critic.optimiser.momentum": 0.5}, r"unknown setting of wgan-gp 'critic.optimiser.momentum'"),
        ({"critic": 3}, r"unknown setting of wgan-gp 'critic'; did you mean"),
        ({"critic.name": "x"}, r"unknown setting of wgan-gp 'critic.name'"),
        ({"penalty.deep": 1}, r"unknown setting of wgan-gp 'penalty.deep'"),
        ({"backbone.kind": "conv"}, r"unknown setting of wgan-gp 'backbone.kind'"),
        ({"penalty": "big"}, r"setting of wgan-gp: penalty: .*number.*'big'"),
        ({"critic.steps": 2.5}, r"setting of wgan-gp: .*steps.*2\.5"),
        ({"critic.steps": 0}, r"setting of wgan-gp: critic.steps: .*greater than or equal to 1, got 0"),
        ({"critic.optimiser.lr": -1.0}, r"setting of wgan-gp: critic.optimiser.*lr: .*greater than 0, got -1"),
        ({"latent": 0}, r"setting of wgan-gp: latent: .*greater than or equal to 1, got 0"),
        ({"simultaneous": True}, r"simultaneous updates of wgan-gp need one step"),
        ({"backbone": {"kind": "transformer"}}, r"setting of wgan-gp: backbone.*transformer"),
    ],
)
def test_bad_settings_are_one_line_for_the_user(override, message):
    with pytest.raises(UserError, match=message) as caught:
        registry.models.get("wgan-gp").settings(DENSE, override)
    assert "\n" not in str(caught.value)


def test_a_bad_backbone_of_a_suite_is_an_error_too():
    with pytest.raises(UserError, match=r"setting of gan: backbone.*widht"):
        registry.models.get("gan").settings({"kind": "conv", "widht": 3})


def test_simultaneous_updates_take_exactly_one_step_in_every_round():
    model = registry.models.get("gan")
    with pytest.raises(UserError, match="one step"):
        model.settings(
            DENSE, {"simultaneous": True, "generator.steps": 2, "generator.boost": 1, "generator.boost_first": 1}
        )
    with pytest.raises(UserError, match="one step"):
        model.settings(DENSE, {"simultaneous": True, "generator.boost": 2, "generator.boost_every": 5})
    assert model.settings(DENSE, {"simultaneous": True})["simultaneous"] is True


def test_build_leaves_the_global_random_state_alone_and_follows_its_seed(tiny):
    data_spec = tiny().data_spec
    model = registry.models.get("sngan")
    settings = small_settings(model)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one, same, other = (model.build(data_spec, settings, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "overrides", "shape", "message"),
    [
        ("gan", {"backbone": {"kind": "conv"}}, (1, 7, 7), "gan cannot play on odd: the conv backbone needs"),
        ("gan", {"backbone": {"kind": "conv"}, "mean_start": True}, (1, 8, 8), "mean_start needs"),
        ("fgan-alpha", {"alpha": 1.0}, (1, 8, 8), "fgan-alpha cannot play on odd: alpha must be neither"),
        ("fgan-weighted-jensen-shannon", {"pi": 1.5}, (1, 8, 8), "pi must be in"),
    ],
)
def test_a_game_that_cannot_be_built_says_why(name, overrides, shape, message):
    model = registry.models.get(name)
    data_spec = DataSpec("odd", shape, 0, torch.full(shape, 0.5))
    with pytest.raises(UserError, match=message):
        model.build(data_spec, model.settings(DENSE, overrides), 0)


@pytest.mark.parametrize("name", suite_names())
def test_every_model_accepts_the_backbone_of_every_suite(name):
    for model in NAMES:
        settings = registry.models.get(model).settings(read_suite(name).backbone)
        config, players = registry.models.get(model).read(settings)
        assert {**to_json(config), **{p.name: settings[p.name] for p in players}} == settings
