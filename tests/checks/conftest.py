"""Writing a plug-in file and checking it, shared by the tests of checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def checked(ganbench: Callable[..., Any], tmp_path: Path, clean_registry: None) -> Callable[[str], Any]:
    """Return what writes a file and checks it."""

    def check(text: str) -> Any:
        path = tmp_path / "mine.py"
        path.write_text(text, encoding="utf-8")
        return ganbench("check", path)

    return check
