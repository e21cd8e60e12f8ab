"""Registries: names, suggestions, entry points of third parties, plug-in files."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ganbench import registry
from ganbench.errors import UserError, suggest
from ganbench.registry import Registry, load_plugin


@pytest.fixture(autouse=True)
def restore_state(monkeypatch):
    """Forget afterwards what a test has registered and imported."""
    for each in (registry.models, registry.datasets, registry.metrics, registry.extractors):
        each.load()
        monkeypatch.setattr(each, "_items", dict(each._items))
    modules = set(sys.modules)  # with those just loaded, which stay registered
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def install(monkeypatch, root: Path, package: str, modules: dict[str, str], group: str = "test.things") -> None:
    """Make an installed third-party package of these modules, one entry point each, in the order of the calls."""
    (root / package).mkdir()
    for name, text in {"__init__": "", **modules}.items():
        (root / package / f"{name}.py").write_text(text)
    if str(root) not in sys.path:
        monkeypatch.syspath_prepend(root)
    before = importlib.metadata.entry_points

    def entry_points(**wanted):
        mine = [EntryPoint(package, package, group)] if wanted == {"group": group} else []
        return [*before(**wanted), *mine]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_names_are_sorted_and_given_once():
    things: Registry[int] = Registry("thing", "test.nothing")
    assert things.add("b", 2) == 2 and things.add("a", 1) == 1
    assert things.names() == ["a", "b"] and things.get("b") == 2
    with pytest.raises(UserError, match="thing 'a' is registered twice; rename one of the two"):
        things.add("a", 3)
    assert things.get("a") == 1


BAD_NAMES = (
    "../../x",
    "/x",
    "a/b",
    "a,b",
    "a.b",
    "a@b",
    "x[/nope]",
    "",
    "A",
    "-a",
    "a\n",
    "\x1b",
    "é",
    "a" * 101,
    3,
    None,
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_are_parts_of_paths_lists_and_tables(name):
    things: Registry[int] = Registry("thing", "test.nothing")
    with pytest.raises(UserError, match="cannot name a thing; give 1 to 100 of a-z, 0-9, - and _") as caught:
        things.add(name, 1)
    assert things.names() == [] and str(caught.value).isprintable()
    assert things.add("3d_cnn-2" + "a" * 92, 1) == 1


def test_unknown_names_get_suggestions():
    things: Registry[int] = Registry("thing", "test.nothing")
    with pytest.raises(UserError, match=r"^unknown thing 'x'; known: none$"):
        things.get("x")
    for name in ("wgan", "wgan-gp", "vae"):
        things.add(name, 0)
    with pytest.raises(UserError, match=r"^unknown thing 'wgan-pg'; did you mean wgan-gp or wgan\?$"):
        things.get("wgan-pg")
    with pytest.raises(UserError, match=r"^unknown thing 'zzzz'; known: vae, wgan, wgan-gp$"):
        things.get("zzzz")
    assert str(suggest("suite", "mnits", ["mnist"])) == "unknown suite 'mnits'; did you mean mnist?"


def test_all_four_registries_are_filled():
    for each in (registry.models, registry.datasets, registry.metrics, registry.extractors):
        assert len(each.names()) >= 3


THING = "import test_registry_things\ntest_registry_things.things.add('{0}', '{0}')\n"


@pytest.fixture
def things(monkeypatch):
    """A registry that packages can import, as they import ganbench.registry.models."""
    module = type(sys)("test_registry_things")
    module.things = Registry("thing", "test.things")
    monkeypatch.setitem(sys.modules, "test_registry_things", module)
    return module.things


def test_a_third_party_package_comes_in_through_its_entry_point(monkeypatch, tmp_path, things):
    install(monkeypatch, tmp_path, "gb_good", {"one": THING.format("one"), "two": THING.format("two")})
    assert "gb_good" not in sys.modules  # only at first use
    assert things.names() == ["one", "two"]
    assert things.get("one") == "one"
    things.load()  # once only
    assert things.names() == ["one", "two"]


@pytest.mark.parametrize(
    "broken",
    [
        "raise RuntimeError('no\\nluck')",
        "import gb_absent_module",
        "def f(:",
        THING.format("half") + "1 / 0",
        THING.format("one"),
    ],
    ids=["raises", "import", "syntax", "halfway", "name taken"],
)
def test_a_broken_third_party_package_is_reported_and_left_out(monkeypatch, tmp_path, things, broken):
    install(monkeypatch, tmp_path, "gb_first", {"one": THING.format("one")})
    install(
        monkeypatch, tmp_path, "gb_broken", {"a": THING.format("early"), "b": broken, "c": THING.format("late")}
    )
    install(monkeypatch, tmp_path, "gb_last", {"two": THING.format("two")})
    with pytest.warns(UserWarning, match="plug-in 'gb_broken' could not be loaded: ") as caught:
        names = things.names()
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    assert names == ["one", "two"]  # nothing of the broken one, all of the others


def test_a_fault_of_our_own_is_never_hidden(monkeypatch, tmp_path):
    def entry_points(**wanted):
        return [EntryPoint("builtin", "ganbench.absent", "test.things")]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    things: Registry[int] = Registry("thing", "test.things")
    for _ in range(2):  # and not only the first time
        with pytest.raises(ModuleNotFoundError, match=r"ganbench\.absent"):
            things.names()


GAME = '''
from dataclasses import dataclass
import torch
from torch import nn
from ganbench.game import Config, Game, Normal, Player

class Mine(Game):
    """A game from a file."""

    name = "{name}"
    players = (Player("only", nets=("G",)),)

    def __init__(self, data, config=Config()):
        super().__init__(data, config)
        self.G = config.backbone.make_generator(3, data.shape)

    def noise(self):
        return {{"z": Normal(3)}}

    def sample(self, noise):
        return self.G(noise["z"])

    def only_loss(self, x, noise):
        return (self.sample(noise) - x).square().mean()
'''


def plugin(folder: Path, text: str, name: str = "my_plugin.py") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def test_a_plugin_file_registers_its_models(tmp_path):
    path = plugin(tmp_path, GAME.format(name="from-a-file"), "my-plugin.py")
    load_plugin(path)
    load_plugin(str(path))  # a second time is nothing
    assert registry.models.get("from-a-file").summary == "A game from a file."


def test_plugin_files_of_one_name_are_refused(tmp_path):
    load_plugin(plugin(tmp_path / "a", GAME.format(name="first")))
    with pytest.raises(UserError, match=r"two plug-in files are called 'my_plugin.py'"):
        load_plugin(plugin(tmp_path / "b", GAME.format(name="second")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "fails on import: ZeroDivisionError: division by zero"),
        ("def f(:", "fails on import: SyntaxError: "),
        ("import gb_absent_module", "fails on import: ModuleNotFoundError: No module named 'gb_absent_module'"),
        ("raise ValueError('one\\ntwo')", "fails on import: ValueError: one two"),
        (GAME.format(name="gan"), "model 'gan' is registered twice; rename one of the two"),
        (GAME.format(name="../../x"), "'../../x' cannot name a model"),
        (GAME.replace('"{name}"', "5").format(), "5 cannot name a model"),
        (GAME.format(name="mine").replace("only_loss", "loss"), "player 'only' has no method only_loss"),
    ],
    ids=["raises", "syntax", "import", "two lines", "name taken", "path", "integer", "contract"],
)
def test_a_bad_plugin_file_is_one_line_each_time(tmp_path, text, message):
    path = plugin(tmp_path, text)
    for _ in range(2):  # the first failure leaves nothing behind that would make the second pass
        with pytest.raises(UserError) as caught:
            load_plugin(path)
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_plugin_that_was_mended_loads(tmp_path):
    path = plugin(tmp_path, "raise RuntimeError('soon')")
    with pytest.raises(UserError, match="soon"):
        load_plugin(path)
    plugin(tmp_path, GAME.format(name="mended") + "# longer, so that no stale bytecode fits\n")
    load_plugin(path)
    assert "mended" in registry.models.names()


@pytest.mark.parametrize("name", ["absent.py", "folder", "notes.txt"])
def test_what_is_no_plugin_file(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("x = 1")
    with pytest.raises(UserError, match=r"give the path of a .py file") as caught:
        load_plugin(tmp_path / name)
    assert name in str(caught.value)
