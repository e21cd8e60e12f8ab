"""Every command and file of README and docs works, word for word, and no command or option is left out of them."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer.main

from ganbench import registry
from ganbench.cli.app import app
from tests.builders import forgotten
from tests.cli.pages import CANNOT_RUN, DOCS, PAGES, ROOT, blocks, files, lines, make_small_world, words

CLI: Any = typer.main.get_command(app)
README = ROOT / "README.md"


def parsed(command: list[str]) -> None:
    """Have the option parser accept a command."""
    with CLI.make_context("ganbench", command, resilient_parsing=False) as context:
        name, sub, rest = CLI.resolve_command(context, command)
        sub.make_context(name, rest, parent=context)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clean_registry: None) -> Path:
    make_small_world(monkeypatch, tmp_path)
    return tmp_path


def test_every_command_runs_word_for_word(world: Path, ganbench: Callable[..., Any]) -> None:
    """In the order of the pages, in one folder: what one trains the next finds."""
    failures = []
    for page, line in lines():
        if not line.startswith("ganbench "):
            continue
        command = words(line)[1:]
        if line.endswith(CANNOT_RUN):
            parsed(command)
            continue
        with forgotten():  # a command knows the plug-ins that it is given, and no others
            answer = ganbench(*command)
        if answer.code:
            failures.append(f"{page}: {line}\n  {answer.err}")
    assert not failures, "\n".join(failures)
    table = pd.read_csv(world / "runs" / "digits" / "my-gan" / next_run(world) / "scores.csv")
    assert set(table["model"]) == {"my-gan"}


def next_run(world: Path) -> str:
    """Return the name of a run of the README's model, which the plug-in command must have trained."""
    return next(path.name for path in (world / "runs" / "digits" / "my-gan").iterdir())


def test_python_of_the_readme_needs_ganbench_only_and_runs(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = files()["example"]
    assert re.findall(r"^(?:import|from) .*", code, re.MULTILINE) == ["import ganbench"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    exec(compile(code, "README example", "exec"), {})
    printed = capsys.readouterr().out
    assert "vae-gaussian" in printed and "real-train" in printed and "mean" in printed


def test_other_lines_of_the_shell_name_what_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page, line in lines():
        head, *rest = words(line)
        if head == "make":
            assert rest[0] in targets, (page, line)
        elif head == "python" and rest[0] == "-m":
            assert importlib.util.find_spec(rest[1]), (page, line)
        elif head == "python" and rest[0] == "-c":
            exec(compile(rest[1], f"{page}: {line}", "exec"), {})
        else:
            assert head in ("ganbench", "asv", "git") or line == "M=$(python tests/bench.py machine)", (page, line)


def test_every_command_and_option_stands_in_the_page_of_the_command_line() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for name, command in CLI.commands.items():
        sections = [part for part in text.split("\n## ") if re.search(rf"^ganbench {name}\b", part, re.MULTILINE)]
        assert sections, name
        for option in (text for parameter in command.params for text in parameter.opts if text.startswith("--")):
            assert option == "--help" or any(option in part for part in sections), f"{name} {option}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#?)([^)]*)\)", text):
            file = (page.parent / target).resolve() if target else page
            assert file.exists(), f"{page.name}: {target}"
            heads = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {head.lower().replace(" ", "-") for head in heads}, (page.name, anchor)


def test_paths_and_tests_that_the_pages_name_exist() -> None:
    tests = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for file, name in re.findall(r"`(?:tests/\w+/)?(test_\w+\.py)(?:::(\w+))?", text):
            assert file in tests and (not name or f"def {name}(" in tests[file]), f"{page.name}: {file} {name}"
        for path in re.findall(r"`((?:ganbench|baselines|tests|docs|results)/[a-z0-9_./-]*)`", text):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_every_leaderboard_is_linked() -> None:
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    for path in (ROOT / "results" / "leaderboards").glob("*.md"):
        assert f"../results/leaderboards/{path.name}" in text


def test_the_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    table = [line for line in text.splitlines() if line.startswith("| ") and "±" in line]
    assert 0 < len(table) <= 8 and table[0].count("|") - 1 <= 3 + 4 + 1  # and the cost


def test_model_of_the_readme_is_short(tmp_path: Path, clean_registry: None) -> None:
    file = tmp_path / "my_gan.py"
    file.write_text(files()["my_gan.py"], encoding="utf-8")
    assert len([line for line in files()["my_gan.py"].splitlines() if line.strip()]) <= 25
    registry.load_plugin(file)
    assert registry.models.get("my-gan").abilities == ("sample",)


def test_graph_of_the_docs_says_what_the_page_says(tmp_path: Path, clean_registry: None) -> None:
    file = tmp_path / "my_graph.py"
    file.write_text(files()["my_graph.py"], encoding="utf-8")
    registry.load_plugin(file)
    said = {name: text for name, _, text in blocks(DOCS / "graphs.md")}["described"]
    module = importlib.import_module("ganbench_plugin_my_graph")
    assert module.GRAPH.describe() + "\n" == said
