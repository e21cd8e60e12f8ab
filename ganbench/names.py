"""One rule for the names of models, metrics and so on: they become parts of paths, lists and tables."""

from __future__ import annotations

import re

from ganbench.errors import UserError

NAME = "^[a-z0-9][a-z0-9_-]{0,99}$"
HELD_BACK = "validation:"  # before the name of a dataset: its validation items stand in for the test ones


def check_name(kind: str, name: object) -> None:
    """Raise UserError unless something can be the name of a model, metric, dataset, extractor, suite or budget."""
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise UserError(
            f"{name!r} cannot name a {kind}; give 1 to 100 of a-z, 0-9, - and _, first a letter or digit"
        )
