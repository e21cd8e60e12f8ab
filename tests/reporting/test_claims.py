"""Every published number stands once in the list of claims, with what the committed tables say of it."""

from pathlib import Path

import pandas as pd

from ganbench.reporting.claims import ORDER, claims, write_claims
from ganbench.runs.scores import ScoreRow, write_rows
from tests.reporting.test_leaderboard import published, seeds

RESULTS = Path(__file__).parents[2] / "results"


def test_the_committed_list_follows_from_the_rows(tmp_path: Path) -> None:
    for path in ("reported.csv", "scores"):
        (tmp_path / path).symlink_to(RESULTS / path)
    committed = (RESULTS / "published.md").read_text(encoding="utf-8")
    assert write_claims(tmp_path).read_text(encoding="utf-8") == committed, "make it again with ganbench publish"


def test_a_number_counts_once_by_the_table_that_tells_most(tmp_path: Path) -> None:
    numbers = pd.concat([published(model="a"), published(model="b")])
    numbers.to_csv(tmp_path / "reported.csv", index=False)
    (tmp_path / "scores").mkdir()
    for budget, values in (("quick", [2.49, 2.5, 2.51]), ("paper", [1.0, 1.1, 1.2])):
        rows = [ScoreRow(**row) for row in seeds("a", values, budget=budget)]
        write_rows(tmp_path / "scores" / f"s-v1-{budget}.csv", rows)
    found = claims(tmp_path).set_index("model")
    assert list(found.index) == ["a", "b"]
    assert found.loc["a", ["verdict", "table"]].tolist() == ["reproduces", "s-v1-quick"]
    assert found.loc["b", ["verdict", "ours", "table"]].tolist() == ["no table", "", ""]
    text = write_claims(tmp_path).read_text(encoding="utf-8")
    counts = {
        line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines()[5:15] if "|" in line
    }
    assert counts["reproduces"] == counts["no table"] == "1" and counts["all"] == "2"
    assert set(ORDER) <= set(counts)
