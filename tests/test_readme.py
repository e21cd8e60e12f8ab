"""What the README tells a newcomer to type works and gives what it says."""

import re
from pathlib import Path

import pytest

from ganbench import registry

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block(mark: str) -> str:
    """Return the Python code that follows a marker."""
    found = re.search(rf"<!-- {mark} -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"README has no block {mark}"
    return found[1]


def test_example_prints_the_promised_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = map(float, re.findall(r"numbers between (\d+) and (\d+)", TEXT)[0])
    monkeypatch.chdir(tmp_path)
    exec(compile(block("example"), "README example", "exec"), {})
    values = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(values) == 3 and all(low < value < high for value in values)


def test_model_of_the_readme_can_be_loaded_as_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "readme_gan.py"
    file.write_text(block("plugin"), encoding="utf-8")
    lines = [line for line in block("plugin").splitlines() if line.strip()]
    assert len(lines) <= 25
    registry.load_plugin(file)
    try:
        assert registry.models.get("my-gan").abilities == ("sample",)
    finally:
        del registry.models._items["my-gan"]  # the registry outlives this test


def test_every_command_of_the_readme_exists() -> None:
    from ganbench.cli import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"^ganbench (\w+)", TEXT, re.MULTILINE)) <= known
