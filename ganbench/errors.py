"""What a user can mend: one line that says what was expected, what was given and what to do."""

from __future__ import annotations

import difflib


class UserError(Exception):
    """A mistake that the user can mend: the command line prints it on one line and exits with code 2."""


def suggest(kind: str, name: str, known: list[str]) -> UserError:
    """Return the error for an unknown name, with the nearest known names and where to look."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return UserError(f"unknown {kind} '{name}'; {hint}")
