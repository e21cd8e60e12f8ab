"""One model as text: what it can do, what can be set, who plays, and its graph if it has one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING

from ganbench.game.example import example
from ganbench.game.players import Player
from ganbench.graphical import GraphicalGAN

if TYPE_CHECKING:
    from ganbench.game.model import Model


def describe(model: Model) -> Iterator[str]:
    """Yield the lines; UserError, after the settings, if the game cannot be built."""
    config, players = model.read(model.settings({"kind": "mlp"}))
    yield f"{model.name}: {model.summary}"
    yield f"class: {model.game.__module__}.{model.game.__qualname__}"
    yield f"role: {model.game.role}, {model.game.supervision}"
    yield f"abilities: {', '.join(model.abilities)}"
    yield f"settings (--set {model.name}.KEY=VALUE):"
    pinned = any(path.split(".")[0] == "backbone" for path in model.overrides)
    for key, text in field_texts(type(config)).items():
        value = "the suite's" if key == "backbone" and not pinned else getattr(config, key)
        yield f"  {key} = {value}: {text}"
    yield "players:" if players else "players: none, it is fitted"
    for player in players:
        yield f"  {player.name} minimises {player.name}_loss over {', '.join(player.nets)}"
        plain = Player(player.name, player.nets)
        for key, text in field_texts(Player).items():
            if key == "optimiser" or getattr(player, key) != getattr(plain, key):
                yield f"    {player.name}.{key} = {getattr(player, key)}: {text}"
    if players:
        rest = ", ".join(key for key in field_texts(Player) if key not in ("name", "nets"))
        yield f"  settings of each (--set {model.name}.PLAYER.KEY=VALUE): {rest}"
    game = example(model)
    if isinstance(game, GraphicalGAN):
        yield f"graph, of {game.data.name} of shape {game.data.shape}:"
        yield textwrap.indent(game.describe(), "  ")


def field_texts(record: type) -> dict[str, str]:
    """Return field -> the string that stands below it in the class or in one that it extends, "" if none does."""
    texts: dict[str, str] = {}
    for kind in record.__mro__:
        if not hasattr(kind, "__dataclass_fields__"):
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for line, below in pairwise(lines):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                    texts.setdefault(line.target.id, str(below.value.value))
    return {field.name: texts.get(field.name, "") for field in fields(record)}
