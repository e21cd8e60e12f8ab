"""Who may import whom, and what must not be loaded for a quick answer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASELINES = sorted(path for path in (ROOT / "baselines").glob("*.py") if path.stem != "__init__")


def loaded(code: str) -> set[str]:
    """Return the top-level modules that are loaded after some code, run in a fresh interpreter."""
    script = f"import sys\n{code}\nprint('LOADED', *{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    return set(run.stdout.rpartition("LOADED")[2].split())


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_import_ganbench_loads_nothing_heavy() -> None:
    assert not loaded("import ganbench") & {"torch", "pandas", "numpy", "scipy", "sklearn"}


def test_tables_suites_and_command_line_need_no_torch() -> None:
    modules = ("cli", "records", "registry", "reporting.publish", "runs.scores", "suites.expand")
    assert "torch" not in loaded(f"import {', '.join(f'ganbench.{module}' for module in modules)}")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"], []])
def test_help_loads_neither_torch_nor_pandas(arguments: list[str]) -> None:
    call = "from ganbench.cli import main\ntry: main()\nexcept SystemExit: pass"
    assert not loaded(f"sys.argv = ['ganbench', *{arguments}]\n{call}") & {"torch", "pandas", "scipy"}


@pytest.mark.parametrize(("what", "unneeded"), [("", set()), ("'suites'", {"torch"})], ids=["all", "suites"])
def test_list_loads_no_more_than_it_needs(what: str, unneeded: set[str]) -> None:
    call = "from ganbench.cli import main\ntry: main()\nexcept SystemExit: pass"
    unneeded = unneeded | {"pandas", "scipy", "sklearn", "torchvision"}
    assert not loaded(f"sys.argv = ['ganbench', 'list', {what}]\n{call}") & unneeded


def test_layers_are_kept() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    run = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stdout


def test_every_module_has_its_layer() -> None:
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "ganbench").iterdir() if path.suffix == ".py" or path.is_dir()}
    lacking = {name for name in modules if not name.startswith("_") and f"ganbench.{name}" not in contracts}
    assert not lacking


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_baselines_import_what_is_made_for_authors_only(path: Path) -> None:
    packages = ("ganbench.game", "ganbench.layers", "ganbench.losses", "ganbench.graphical")
    for name in imports(path):
        own = any(f"{name}.".startswith(f"{package}.") for package in packages)
        assert own or name.partition(".")[0] in {"torch", "sklearn", "numpy"} | set(sys.stdlib_module_names), name


def test_nothing_in_ganbench_imports_baselines() -> None:
    for path in (ROOT / "ganbench").rglob("*.py"):
        assert not {name for name in imports(path) if name.partition(".")[0] == "baselines"}, path
