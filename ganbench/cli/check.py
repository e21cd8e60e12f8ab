"""The command that runs the contract tests on somebody's models, metrics and datasets."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ganbench import registry
from ganbench.cli.results import DataRoot
from ganbench.errors import UserError, suggest

KINDS = {"model": registry.models, "metric": registry.metrics, "dataset": registry.datasets}


def check(
    what: Annotated[str, typer.Argument(help="a Python file that registers some, or a registered name")],
    data_root: DataRoot = None,
) -> None:
    """Check models, metrics and datasets against the contract: those of a file, or one by name."""
    from ganbench.checks import check_dataset, check_game, check_metric

    items = list(_items(what))
    root = Path(data_root).expanduser() if data_root else None
    broken = 0
    for kind, name in items:
        item = KINDS[kind].get(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fault is an error, all else is for the author's own tests
            if kind == "model":
                results = list(check_game(item))
            else:
                results = list(check_metric(item) if kind == "metric" else check_dataset(item, root))
        faults = [result for result in results if result.fault]
        broken += bool(faults)
        for result in faults:
            print(f"{name}: {result.check}: {result.fault}")
        if not faults:
            print(f"{name}: {len(results)} checks passed")
    if broken:
        raise UserError(f"{broken} of {len(items)} in {what} break the contract; mend what is named above")


def _items(what: str) -> Iterator[tuple[str, str]]:
    """Yield kind and name of all that a file registers, or of what has a name."""
    before = {kind: set(known.names()) for kind, known in KINDS.items()}
    if what.endswith(".py"):
        registry.load_plugin(what)
        found = [
            (kind, name) for kind, known in KINDS.items() for name in known.names() if name not in before[kind]
        ]
        if not found:
            raise UserError(f"{what} registers no model, metric or dataset; a game needs a name, see the README")
    else:
        found = [(kind, what) for kind in KINDS if what in before[kind]]
        if not found:
            raise suggest("model, metric or dataset", what, sorted(set().union(*before.values())))
    yield from found
