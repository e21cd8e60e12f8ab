"""What is checked and registered when the class of a game is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ganbench import registry
from ganbench.errors import UserError
from ganbench.game.contract import Config, Game
from ganbench.game.optimisers import SGD
from ganbench.game.players import Player
from tests.cases import DENSE
from tests.training.test_order import Bilinear


@pytest.fixture
def spare_registry(monkeypatch):
    monkeypatch.setattr(registry.models, "_items", dict(registry.models._items))


@dataclass(frozen=True)
class OwnConfig(Config):
    latent: int = 3
    "size of z"


def test_a_new_game_is_registered_with_its_variants(spare_registry, tiny):
    class Mine(Bilinear):
        """Mine."""

        name = "mine"
        variants = {"mine": {}, "mine-fast": {"first.optimiser.lr": 0.5}}

    assert {"mine", "mine-fast"} <= set(registry.models.names())
    model = registry.models.get("mine-fast")
    assert model.game is Mine and model.summary == "Mine."
    assert model.build(tiny().data_spec, model.settings(DENSE), 0).players[0].optimiser == SGD(0.5)
    assert Mine.players[0].optimiser == SGD(0.1)
    with pytest.raises(UserError, match="model 'mine' is registered twice"):

        class Again(Bilinear):
            name = "mine"


def test_a_class_that_breaks_the_contract_is_refused(spare_registry):
    with pytest.raises(UserError, match="game 'bad': player 'third' has no method third_loss"):

        class NoLoss(Bilinear):
            name = "bad"
            players = (Player("third", nets=("a",)),)

    with pytest.raises(UserError, match="game 'bad' has neither players nor a method fit"):

        class NoPlayers(Bilinear):
            name = "bad"
            players = ()

    with pytest.raises(UserError, match="game 'bad' has no method sample"):

        class NoSample(Game):
            name = "bad"
            players = Bilinear.players
            noise = Bilinear.noise
            first_loss = second_loss = Bilinear.first_loss

    with pytest.raises(UserError, match="game 'bad': __init__ needs a parameter 'config'"):

        class NoConfig(Bilinear):
            name = "bad"

            def __init__(self, data, config):
                super().__init__(data, config)

    assert "bad" not in registry.models.names()


def test_replace_keeps_records_frozen():
    config = OwnConfig()
    with pytest.raises(AttributeError):
        config.latent = 4  # type: ignore[misc]
    assert replace(config, latent=4).latent == 4 and config.latent == 3
