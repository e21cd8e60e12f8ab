"""Files stay short enough to be read in one sitting."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lines(path: Path) -> int:
    """Return the number of lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ganbench").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_framework_files_have_at_most_300_lines(path: Path) -> None:
    assert lines(path) <= 300


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.py")), ids=lambda path: path.stem)
def test_baselines_have_at_most_230_lines(path: Path) -> None:
    assert lines(path) <= 230
