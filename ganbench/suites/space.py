"""What tuning may change of a model: the space that the types of its settings declare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

from ganbench import registry
from ganbench.records import Choices, Record, Search
from ganbench.suites.spec import RunSpec

Space = dict[str, tuple[Any, Search | Choices]]


def search_space(spec: RunSpec) -> Space:
    """Return path -> (value in the run, what may be tried, that value included); {} if nothing is declared.

    A number at 0 switches its option off and stays so. The last player, by custom the generator, keeps its steps,
    so that a round is a step of its own; and all do where updates are simultaneous.
    """
    config, players = registry.models.get(spec.model).read(spec.settings)
    found = dict(_declared(config, ""))
    for player in players:
        found |= _declared(player, f"{player.name}.")
    for player in players if config.simultaneous else players[-1:]:
        del found[f"{player.name}.steps"]
    return found


def _declared(record: Record, prefix: str) -> Iterator[tuple[str, tuple[Any, Search | Choices]]]:
    """Yield each field of a record, and of the records in it, whose type declares what to try."""
    hints = get_type_hints(type(record), include_extras=True)
    for field in fields(record):
        value, path = getattr(record, field.name), prefix + field.name
        if isinstance(value, Record):
            yield from _declared(value, f"{path}.")
        for search in get_args(hints[field.name])[1:]:  # of Annotated, what follows the type
            if isinstance(search, Search) and value:
                yield path, (value, replace(search, low=min(search.low, value), high=max(search.high, value)))
            elif isinstance(search, Choices):
                plain = [list(one) if isinstance(one, tuple) else one for one in (value, *search.values)]
                yield path, (plain[0], Choices(tuple(one for i, one in enumerate(plain) if one not in plain[:i])))
