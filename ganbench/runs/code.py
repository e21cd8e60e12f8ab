"""The hash of the code that a model's numbers hang on: what its class leads to, whatever its comments and layout.

Followed are the model's own package, and the layers, losses, graphs and distributions that it takes from here,
one top-level definition at a time; the contract (`ganbench.game`) and other libraries are not. Left out is what
decides no number: docstrings, annotations, `published`, and what a run names itself, `variants` and settings.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ganbench import registry
from ganbench.records import fingerprint
from ganbench.suites.spec import RunSpec

OURS = ("layers", "losses", "graphical", "distributions")  # packages of ganbench whose code makes numbers
BACKBONES = {"mlp": "MLP", "conv": "Conv"}  # kind in the settings -> class
SILENT = {"variants", "published", "name", "role"}  # class attributes that make no number
UNSTABLE = {"ctx", "kind", "type_comment", "type_params"}  # parts of syntax trees that differ between Pythons

Place = tuple[str, str]  # module, and name in it


class Definition(NamedTuple):
    """A top-level definition: what it says, and what it leads to."""

    digest: str
    uses: tuple[Place, ...]


@cache
def code_hash(model: str, backbone: str) -> str:
    """Return the hash of a model's code on one kind of backbone, 12 hexadecimal digits.

    Args:
        model: registered name.
        backbone: kind of its networks, "mlp" or "conv", which the settings choose and no import shows.
    """
    game = registry.models.get(model).game
    parts = reached((game.__module__, game.__name__), ("ganbench.layers.networks", BACKBONES[backbone]))
    return fingerprint(sorted((name, part.digest) for (_, name), part in parts.items()))


def code_of(spec: RunSpec) -> str:
    """Return the hash of the present code of a run's model."""
    return code_hash(spec.model, spec.backbone)


def reached(*roots: Place) -> dict[Place, Definition]:
    """Return every top-level definition that some definitions lead to, themselves included."""
    own = {module.partition(".")[0] for module, _ in roots} - {"ganbench"}
    found: dict[Place, Definition] = {}
    pending = list(roots)
    while pending:
        place = pending.pop()
        head, *rest = place[0].split(".")
        if place in found or head not in {*own, "ganbench"}:
            continue
        definitions, imports = _contents(place[0])
        if place[1] not in definitions:  # perhaps a package that only hands it on
            pending += [imports[place[1]]] if place[1] in imports else []
        elif head in own or (rest and rest[0] in OURS):
            found[place] = _definition(*place)
            pending += found[place].uses
    return found


@cache
def _contents(module: str) -> tuple[dict[str, ast.stmt], dict[str, Place]]:
    """Return a module's top-level definitions by name, and where each imported name comes from."""
    loaded = sys.modules.get(module) or importlib.import_module(module)
    tree = ast.parse(Path(loaded.__file__ or "").read_bytes())
    return {name: node for node in tree.body for name in _defined(node)}, dict(_imported(tree, module))


def _defined(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
    return []


def _imported(tree: ast.AST, module: str) -> Iterator[tuple[str, Place]]:
    """Yield each imported name and its place; a module's place has no name in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield alias.asname or alias.name, (whole, "") if whole in sys.modules else (source, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name, (alias.name, "")


@cache
def _definition(module: str, name: str) -> Definition:
    definitions, imports = _contents(module)
    plain = _plain(definitions[name])
    uses: dict[Place, None] = {}
    for head, attribute in _names(plain):
        if head in definitions and head != name:
            uses[module, head] = None
        elif head in imports and (imports[head][1] or attribute):  # a module leads to what is taken from it
            uses[imports[head][0], imports[head][1] or attribute] = None
    return Definition(fingerprint(plain), tuple(uses))


def _names(plain: Any) -> Iterator[tuple[str, str]]:
    """Yield the names in a plain syntax tree, each with the attribute that is taken from it, if any."""
    if isinstance(plain, list):
        if plain[:1] == ["Name"]:
            yield plain[1][1], ""
        elif plain[:1] == ["Attribute"] and plain[1][1][0] == "Name":
            yield plain[1][1][1][1], plain[2][1]
        for part in plain:
            yield from _names(part)


def _plain(node: Any) -> Any:
    """Return a syntax tree as nested lists, [type, [field, value], ...], equal in all versions of Python."""
    if isinstance(node, list):
        return [_plain(part) for part in node if not _silent(part)]
    if isinstance(node, ast.ClassDef):  # its annotated fields are settings of a record
        node = ast.ClassDef(**{**vars(node), "body": [p for p in node.body if not isinstance(p, ast.AnnAssign)]})
    if isinstance(node, ast.Constant):
        return ["Constant", repr(node.value)]
    if isinstance(node, ast.Raise):
        return ["Raise"]  # its words make no number
    if not isinstance(node, ast.AST):
        return node
    skipped = UNSTABLE | ({"annotation", "returns"} if isinstance(node, ast.arg | ast.FunctionDef) else set())
    fields = [(key, getattr(node, key, None)) for key in node._fields if key not in skipped]
    return [type(node).__name__, *([key, _plain(value)] for key, value in fields if value not in (None, []))]


def _silent(node: Any) -> bool:
    """Tell whether a statement makes no number."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Assign) and bool(_defined(node)) and SILENT.issuperset(_defined(node))
