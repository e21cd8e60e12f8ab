"""Methods that a game has only where its graph makes plain what they do."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, TypeVar

M = TypeVar("M", bound=Callable[..., Any])


class Available(Generic[M]):
    """A method that is an attribute of those instances alone that fulfil a condition, and never of the class."""

    def __init__(self, method: M, condition: Callable[[Any], bool]) -> None:
        self.method, self.condition, self.__doc__ = method, condition, method.__doc__

    def __get__(self, game: Any, owner: type | None = None) -> Any:
        if game is None or not self.condition(game):
            raise AttributeError(f"{self.method.__name__} is not plain from the graph")
        return MethodType(self.method, game)


def available_if(condition: Callable[[Any], bool]) -> Callable[[M], Available[M]]:
    """Return a decorator that leaves a method out where the condition of an instance is false."""
    return lambda method: Available(method, condition)
