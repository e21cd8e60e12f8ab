"""What makes a run another run: arithmetic that its model uses, and nothing else."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganbench import registry
from ganbench.runs import code
from ganbench.runs.code import code_hash, reached

LOSSES = """
from ganbench.losses import gan_discriminator

SCALE = 2.0


def half(value):
    \"""Return half of it.\"""
    if value is None:
        raise ValueError("nothing to halve")
    return value / SCALE  # not a quarter


def unused(value):
    return value + 1
"""
COUNT = itertools.count()  # what was read of a module is kept for the life of a process
MODEL = """
from typing import ClassVar

from ganbench.game import Adam, Config, Game, Normal, Player
from {package} import losses
from {package}.losses import half


class Mine(Game):
    \"""Mine. Me 2026.\"""

    name = "{name}"
    players = (Player("critic", nets=("D",), optimiser=Adam(1e-3)),)
    variants: ClassVar[dict] = {{"{name}": {{}}}}

    def __init__(self, data, config=Config()):
        super().__init__(data, config)
        self.D = config.backbone.make_critic(data.shape)

    def noise(self):
        return {{"z": Normal(3)}}

    def sample(self, noise):
        return noise["z"]

    def critic_loss(self, x, batch):
        return half(self.D(x).mean()) + losses.SCALE
"""


@pytest.fixture
def hash_of(tmp_path: Path, clean_registry: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return a function that writes a package with a model and its losses, and gives the model's hash."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(model: tuple[str, str] = ("", ""), losses: tuple[str, str] = ("", "")) -> str:
        package = f"planted{next(COUNT)}"
        assert model[0] in MODEL and losses[0] in LOSSES  # the edit finds its place
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        text = MODEL.replace(*model) if model[0] else MODEL
        (tmp_path / package / "model.py").write_text(text.format(package=package, name=package))
        (tmp_path / package / "losses.py").write_text(LOSSES.replace(*losses) if losses[0] else LOSSES)
        importlib.import_module(f"{package}.model")
        found = code_hash(package, "mlp")
        assert any(name == "half" for _, name in reached((f"{package}.model", "Mine")))
        return found

    yield make
    for name in [name for name in sys.modules if name.startswith("planted")]:
        del sys.modules[name]


def test_the_same_code_in_another_place_is_the_same(hash_of: Callable[..., str]) -> None:
    assert hash_of() == hash_of()


@pytest.mark.parametrize(
    "edit",
    [
        {"losses": ("# not a quarter", "# a comment")},
        {"losses": ("Return half of it.", "Halve.")},
        {"losses": ("nothing to halve", "no value")},
        {"losses": ("return value / SCALE", "return (\n        value / SCALE\n    )")},
        {"losses": ("value + 1", "value + 2")},  # nobody uses it
        {"losses": ("def half(value):", "def half(value: float) -> float:")},
        {"model": ("Mine. Me 2026.", "Ours.")},
        {"model": ("{{}}}}", '{{}}, "other-{name}": {{}}}}')},
    ],
    ids=["comment", "docstring", "message", "layout", "unused", "annotation", "summary", "variant"],
)
def test_what_makes_no_number_makes_no_other_run(hash_of: Callable[..., str], edit: dict) -> None:
    assert hash_of(**edit) == hash_of()


@pytest.mark.parametrize(
    "edit",
    [
        {"losses": ("value / SCALE", "value * SCALE")},
        {"losses": ("SCALE = 2.0", "SCALE = 2")},
        {"model": ("+ losses.SCALE", "- losses.SCALE")},
        {"model": ("Normal(3)", "Normal(4)")},
        {"model": ("Adam(1e-3)", "Adam(1e-4)")},
    ],
    ids=["loss", "constant", "sign", "noise", "rate"],
)
def test_arithmetic_makes_another_run(hash_of: Callable[..., str], edit: dict) -> None:
    assert hash_of(**edit) != hash_of()


def test_models_hang_on_the_losses_layers_and_graphs_that_they_use() -> None:
    def names(model: str) -> set[str]:
        game = registry.models.get(model).game
        return {name for _, name in reached((game.__module__, game.__name__), ("ganbench.layers.networks", "MLP"))}

    assert {"gradient_penalty", "Normal", "MLP", "Network", "BatchNorm1d"} <= names("wgan-gp")
    assert {"Graph", "Joint", "pair_critic", "Mixture", "batched_steps"} <= names("graphical-gan-mixture")
    assert "gradient_penalty" not in names("lsgan") and "Graph" not in names("wgan-gp")
    assert "Game" not in names("wgan-gp")  # the contract is held by tests, its changes raise suite versions


def test_an_edited_loss_changes_the_models_that_use_it_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    models = ("wgan-gp", "lsgan", "graphical-gan-mixture")
    before = {name: code_hash(name, "mlp") for name in models}
    real = code._definition

    def edited(module: str, name: str) -> code.Definition:
        part = real(module, name)
        return part._replace(digest="edited") if name == "gradient_penalty" else part

    monkeypatch.setattr(code, "_definition", edited)
    after = {name: code_hash.__wrapped__(name, "mlp") for name in models}
    assert {name for name in models if after[name] != before[name]} == {"wgan-gp"}


def test_the_backbone_belongs_to_the_code() -> None:
    assert code_hash("gan", "mlp") != code_hash("gan", "conv")
