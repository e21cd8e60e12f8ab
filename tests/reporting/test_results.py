"""Committed tables are what the committed rows give."""

from pathlib import Path

import pandas as pd
import pytest

from ganbench.reporting.leaderboard import load_rows
from ganbench.reporting.publish import BLOCK, refresh_readme, reported, write_leaderboards
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
SCORES = sorted((RESULTS / "scores").glob("*.csv"))


def current(scores: Path) -> bool:
    """Tell whether committed rows are of today's version of their suite; older ones are history."""
    rows = load_rows([scores])
    return bool(rows["version"].iat[0] == read_suite(rows["suite"].iat[0]).version)


def test_there_are_committed_rows() -> None:
    assert {"digits-v2-standard", "mnist-v2-cpu"} <= {path.stem for path in SCORES}


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.stem)
def test_leaderboards_follow_from_the_rows(scores: Path, tmp_path: Path) -> None:
    (tmp_path / "reported.csv").write_bytes((RESULTS / "reported.csv").read_bytes())
    markdown, table = write_leaderboards(scores, tmp_path)
    committed = RESULTS / "leaderboards"
    text = (committed / markdown.name).read_text(encoding="utf-8")
    assert markdown.read_text(encoding="utf-8") == text, f"publish {scores.stem} again"
    # Full-precision floats: other library versions differ in the last digits.
    pd.testing.assert_frame_equal(pd.read_csv(table), pd.read_csv(committed / table.name), rtol=1e-9)


@pytest.mark.parametrize("scores", list(filter(current, SCORES)), ids=lambda path: path.stem)
def test_rows_are_those_of_the_suite(scores: Path) -> None:
    rows = load_rows([scores])
    suite = read_suite(rows["suite"].iat[0])
    assert set(rows["dataset"]) <= set(suite.datasets)
    assert set(rows["model"]) <= set(expand(suite, rows["budget"].iat[0]))
    assert set(rows["metric"]) == set(suite.metrics)
    assert (rows.groupby(["dataset", "model", "seed"])["metric"].nunique() == len(suite.metrics)).all()


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.stem)
def test_rows_say_where_they_come_from(scores: Path) -> None:
    rows = load_rows([scores])
    [(name, version, budget)] = rows[["suite", "version", "budget"]].drop_duplicates().to_numpy()
    assert scores.stem == f"{name}-v{version}-{budget}" and version <= read_suite(name).version
    assert not rows.duplicated(["dataset", "model", "config_hash", "metric", "seed"]).any()
    assert rows["provenance"].str.contains("trained on").all()
    measured = rows["status"] == "measured"
    assert rows.loc[~measured, "value"].isna().all() and (rows.loc[~measured, "reason"] != "").all()
    assert rows.loc[measured, "value"].notna().all()


def test_reported_numbers_are_those_of_the_model_files(tmp_path: Path) -> None:
    reported().to_csv(tmp_path / "reported.csv", index=False, lineterminator="\n")
    pd.testing.assert_frame_equal(pd.read_csv(RESULTS / "reported.csv"), pd.read_csv(tmp_path / "reported.csv"))
    assert set(pd.read_csv(RESULTS / "reported.csv")["model"]) >= {"fgan-kl", "vae-gaussian", "real-train"}


def test_verdicts_are_asked_where_the_model_is_trained() -> None:
    """A published number names a suite and budget that exist and train its model."""
    for number in reported().query("training != ''").itertuples():
        suite, _, budget = number.training.partition("/")
        assert number.model in expand(read_suite(suite), budget), number


def test_readme_tables_follow_from_the_rows() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert BLOCK.search(text), "the README has no leaderboard block"
    assert refresh_readme(readme, RESULTS) == text, "publish again"
