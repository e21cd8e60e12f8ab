"""The comparisons with public libraries: answers agree, and every row is there. Times are not asserted."""

import csv
import importlib.util
from functools import partial
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def opponents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where the opponents are not installed; measure the machine's peak on small matrices."""
    for name in ("prdc", "torch_fidelity"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    from tests.opponents import table

    monkeypatch.setattr(table, "product_peak", partial(table.product_peak, size=128))


def test_quick_table_of_the_metrics_has_all_rows_and_agreeing_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.opponents.metrics import COMPARISONS, main

    assert main(["--quick", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["what"] for row in rows}) == len(rows) == len(COMPARISONS)
    for row in rows:
        assert float(row["ours_s"]) > 0 and float(row["opponent_s"]) > 0 and float(row["limit_s"]) > 0
        largest = 2e-2 if "bfloat16" in row["what"] else 1e-4
        assert float(row["difference"]) <= largest, row
    page = (tmp_path / "metrics.md").read_text()
    assert page.strip() in printed and "more than" not in page
    assert all(row["what"] in page for row in rows)


def test_an_answer_that_differs_is_marked_and_fails() -> None:
    from tests.opponents import table

    same = table.Comparison("sum", lambda: 1.0, lambda: 1.0, 2, lambda a, b: abs(a - b), 1e-9)
    other = table.Comparison("wrong", lambda: 1.0, lambda: 1.1, 2, lambda a, b: abs(a - b), 1e-9, scale=10)
    results = [table.measure(same, 3), table.measure(other, 3)]
    assert [result.agrees for result in results] == [True, False]
    assert len(table.rows(results).splitlines()) == 7
    assert table.markdown("two", results).count("**more than 1e-09**") == 1


def test_the_ratio_is_the_median_of_pairs() -> None:
    from tests.opponents import table

    result = table.Result("x", [1.0, 2.0, 100.0], [3.0, 2.0, 500.0], 2, 0, 0, 0, "")
    assert result.ratio == 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")
def test_memory_of_a_metric_in_a_process_of_its_own() -> None:
    from tests.opponents import memory

    n = 25_000
    peak = memory.measure("inception-score", n, queries=100)
    assert 0 < peak.used <= peak.bound < 8 * n * memory.D  # less than a float64 copy of the features


@pytest.mark.parametrize(
    ("rows_of", "least"), [("MLP, float32, eager", 2), pytest.param("eager", 7, marks=pytest.mark.nightly)]
)
def test_training_beside_its_opponents_runs(tmp_path: Path, rows_of: str, least: int) -> None:
    from tests.opponents.training import main

    main(["--quick", "--only", rows_of, "--out", str(tmp_path)])
    with (tmp_path / "training-cpu.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= least and all(float(row["ours_s"]) > 0 and float(row["limit_s"]) > 0 for row in rows)
    assert all(rows_of in row["what"] for row in rows)
