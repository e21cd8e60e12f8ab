"""What tuning may change of a model: the space that the types of its settings declare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

from ganbench import registry
from ganbench.records import Choices, Record, Search
from ganbench.suites.spec import RunSpec


def search_space(spec: RunSpec) -> dict[str, tuple[Any, Search | Choices]]:
    """Return path -> (value in the run, what may be tried), the value itself included.

    A number at 0 switches its option off and stays so. Steps are searched of all players but the last, and of none
    that move at once; networks are given.
    """
    config, players = registry.models.get(spec.model).read(spec.settings)
    found = dict(_declared(config, ""))
    for player in players:
        found |= dict(_declared(player, f"{player.name}."))
    if players:
        fixed = players[-1:] if not config.simultaneous else players
        for player in fixed:
            found.pop(f"{player.name}.steps", None)
    return found


def _declared(record: Record, prefix: str) -> Iterator[tuple[str, tuple[Any, Search | Choices]]]:
    """Yield path and search of every field of a record, and of the records in it, whose type declares one."""
    hints = get_type_hints(type(record), include_extras=True)
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Record):
            if field.name != "backbone":
                yield from _declared(value, f"{prefix}{field.name}.")
            continue
        for search in get_args(hints[field.name])[1:]:
            if isinstance(search, Search) and value:
                wide = replace(search, low=min(search.low, value), high=max(search.high, value))
                yield f"{prefix}{field.name}", (value, wide)
            elif isinstance(search, Choices):
                values = tuple(dict.fromkeys((value, *search.values)))
                yield f"{prefix}{field.name}", (_plain(value), Choices(tuple(map(_plain, values))))


def _plain(value: Any) -> Any:
    """Return a setting as suite files hold it."""
    return list(value) if isinstance(value, tuple) else value
