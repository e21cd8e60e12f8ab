"""What `import ganbench` offers: few names, loaded when asked for, on the command line's own path."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ganbench
from ganbench.cli import progress
from ganbench.execution import suite as execution

SOURCE = Path(ganbench.__file__).read_text(encoding="utf-8")


def fresh(code: str) -> str:
    """Return what some code prints in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_names_are_loaded_when_they_are_asked_for() -> None:
    check = "import sys, ganbench; {}; print('torch' in sys.modules, 'pandas' in sys.modules)"
    assert fresh(check.format("dir(ganbench)")) == "False False\n"
    assert fresh(check.format("ganbench.load_results(), ganbench.leaderboard")) == "False True\n"
    assert fresh(check.format("ganbench.Game")).startswith("True")


def test_every_name_is_there_and_no_other() -> None:
    assert len(ganbench.__all__) <= 12 and set(ganbench.__all__) <= set(dir(ganbench))
    for name in ganbench.__all__:
        assert getattr(ganbench, name).__name__ in (name, "load")
    with pytest.raises(AttributeError, match="'ganbench' has no attribute 'nothing'"):
        ganbench.nothing  # noqa: B018


def test_type_checkers_see_what_is_loaded() -> None:
    [typed] = [
        node for node in ast.parse(SOURCE).body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    ]
    seen = {}
    for node in typed.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            seen[alias.asname or alias.name] = getattr(importlib.import_module(node.module or ""), alias.name)
    assert set(seen) == set(ganbench.__all__)
    assert all(getattr(ganbench, name) is value for name, value in seen.items())
    assert Path(ganbench.__file__).with_name("py.typed").is_file()


def test_results_are_read_from_runs_from_results_and_from_one_file(finished: Path, tmp_path: Path) -> None:
    rows = ganbench.load_results(finished)
    assert len(rows) == 18 and set(rows["model"]) == {"gan", "vae", "real-train"}
    results = Path(ganbench.__file__).parents[1] / "results"
    one = ganbench.load_results(results / "scores" / "digits-v2-standard.csv")
    every = ganbench.load_results(str(results))
    pd.testing.assert_frame_equal(every, ganbench.load_results())
    assert set(one["suite"]) == {"digits"} and len(one) < len(every)
    with pytest.raises(ganbench.UserError, match=r"no score rows in .*; make some with ganbench run"):
        ganbench.load_results(tmp_path)


def test_leaderboard_is_that_of_the_command_line(
    finished: Path, suite: Path, ganbench: Callable[..., Any], tmp_path: Path
) -> None:
    from ganbench import leaderboard, load_results

    printed = ganbench("leaderboard", "--suite", suite, "--out", finished, "--format", "csv").out
    assert leaderboard(load_results(finished)).to_csv(index=False, lineterminator="\n") == printed


def test_run_gives_the_rows_of_the_command_line(finished: Path, suite: Path, tmp_path: Path) -> None:
    rows = ganbench.run(
        suite, models=["real-train"], seeds=1, metrics=["authenticity"], out=tmp_path, device="cpu"
    )
    known = ganbench.load_results(finished)
    known = known[(known["model"] == "real-train") & (known["seed"] == 0) & (known["metric"] == "authenticity")]
    both = [frame.drop(columns=["seconds", "provenance"]).reset_index(drop=True) for frame in (rows, known)]
    pd.testing.assert_frame_equal(*both)


def test_settings_reach_the_model_and_mistakes_are_errors(suite: Path, tmp_path: Path) -> None:
    rows = ganbench.run(suite, models=["gan"], seeds=1, settings={"gan.latent": 3}, out=tmp_path, device="cpu")
    [weights] = tmp_path.glob("tiny/gan/*/spec.json")
    assert '"latent": 3' in weights.read_text(encoding="utf-8") and set(rows["model"]) == {"gan"}
    with pytest.raises(ganbench.UserError, match="unknown setting of gan 'latnt'"):
        ganbench.run(suite, models=["gan"], settings={"gan.latnt": 3}, out=tmp_path)
    with pytest.raises(ganbench.UserError, match="unknown metric 'fdi'"):
        ganbench.run(suite, metrics=["fdi"], out=tmp_path)


def test_the_command_line_has_no_way_of_its_own(
    ganbench: Callable[..., Any], suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr(execution, "run", lambda suite, **options: asked.update(options, suite=suite))
    assert ganbench("run", "--suite", suite, "--models", "gan", "--set", "gan.latent=3").code == 0
    assert asked["models"] == ["gan"] and asked["settings"] == {"gan.latent": 3}
    assert isinstance(asked["watcher"], progress.Terminal)


def test_rows_are_read_from_a_parquet_file(
    finished: Path, suite: Path, ganbench: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from ganbench import load_results

    path = tmp_path / "rows.parquet"
    load_results(finished).to_parquet(path)
    pd.testing.assert_frame_equal(load_results(path), load_results(finished))
    command = ("leaderboard", "--suite", suite, "--format", "csv", "--out")
    assert ganbench(*command, path).out == ganbench(*command, finished).out != ""
    load_results(finished).drop(columns="seed").to_parquet(path)
    answer = ganbench(*command, path)
    assert answer.code == 2 and f"'{path}' holds no score rows: " in answer.err


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(path: Path) -> None:
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", lacking)
    (tmp_path / "rows.parquet").touch()
    with pytest.raises(ganbench.UserError, match=r"' needs pyarrow; pip install 'ganbench\[parquet\]'$"):
        ganbench.load_results(tmp_path / "rows.parquet")
