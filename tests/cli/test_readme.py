"""What the README tells a newcomer to type works and gives what it says."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ganbench import datasets, registry
from ganbench.evaluation.measure import measure
from ganbench.evaluation.real import RealData
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from ganbench.training.loop import train

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def block(mark: str, text: str = TEXT) -> str:
    """Return the Python code that follows a marker."""
    found = re.search(rf"<!-- {mark} -->\n```python\n(.*?)```", text, re.DOTALL)
    assert found, f"no block {mark}"
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


def test_graph_of_the_docs_is_a_model_that_trains_and_clusters(tmp_path: Path) -> None:
    file = tmp_path / "my_graph.py"
    text = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    file.write_text(block("graph", text), encoding="utf-8")
    registry.load_plugin(file)
    try:
        assert f"<!-- described -->\n```\n{sys.modules['ganbench_plugin_my_graph'].GRAPH.describe()}\n```" in text
        suite = read_suite("clustering")
        specs = expand(suite, "quick", ["my-graph", "my-graph-global"], seeds=1, dataset="digits")
        data = datasets.load("digits")
        for model, critics in (
            ("my-graph", {"class style", "code style", "code x"}),
            ("my-graph-global", {"all"}),
        ):
            [spec] = specs[model]
            spec = replace(spec, rounds=3, samples=20)
            train([spec], data, tmp_path)
            rows = measure(spec, spec.folder(tmp_path), RealData(data), ["cluster-accuracy", "critic-accuracy"])
            assert [row.status for row in rows] == ["measured"] * 2, rows
            assert len(rows[1].detail.split(", ")) == len(critics)
    finally:
        for model in ("my-graph", "my-graph-global"):
            del registry.models._items[model]


def test_every_command_of_the_readme_exists() -> None:
    from ganbench.cli.app import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"^ganbench (\w+)", TEXT, re.MULTILINE)) <= known
