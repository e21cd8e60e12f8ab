"""One text for each kind of file: what a model, a folder or an exception is called never becomes markup."""

from __future__ import annotations

import html as escapes
import re
from typing import TypeVar

T = TypeVar("T")
LATEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"[": "{[}", "]": "{]}"}  # after the end of a row a bracket would be an option
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "–": r"\textendash{}", "†": r"$\dagger$"}
)
# What means something amid a line: a mark, a tag, a link, emphasis, an entity.
MARKDOWN = re.compile(
    r"[\\`*|~]|<(?=[a-zA-Z/!?])|\[(?=.*\][(\[])|^\[|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)", re.ASCII
)
BLOCK = re.compile(r"^(?:\d{1,9}(?=[.)])|(?=[#>+=-]))")  # what begins a heading, a quotation or a list


def plain(text: str) -> str:
    """Return a text on one line, with codes for what has no shape, such as \\x1b for ESC, \\u202e for a mark."""
    if text.isprintable():
        return text
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def csv(value: T) -> T:
    """Return a value as a cell that no spreadsheet takes for a formula; what is no text stays as it is."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _number(text) else text  # type: ignore[return-value]


def html(text: str) -> str:
    """Return a text for the body of a page."""
    return escapes.escape(plain(text))


def latex(text: str) -> str:
    """Return a text for the body of a LaTeX document."""
    return plain(text).translate(LATEX).replace("--", "-{}-{}")  # two hyphens would be a dash


def markdown(text: str) -> str:
    """Return a text for a cell of a pipe table, or for a line that begins with something else."""
    return MARKDOWN.sub(r"\\\g<0>", plain(text))


def item(text: str) -> str:
    """Return a text for an item of a markdown list."""
    return BLOCK.sub(r"\g<0>\\", markdown(text))


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
