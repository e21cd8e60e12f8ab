"""The queue of experiments names every committed table, and what is done of it follows from the rows."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ganbench.errors import UserError
from ganbench.reporting.experiments import Coverage, Experiment, read_experiments, states, write_states
from ganbench.reporting.publish import IDENTITY, identity
from ganbench.runs.scores import ScoreRow, write_rows
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from tests.reporting.test_leaderboard import row

RESULTS = Path(__file__).parents[2] / "results"
QUEUE = read_experiments(RESULTS / "experiments.toml")
ONE = Experiment("digits", "quick", "why", models=("gan", "vae"), seeds=3)


def test_the_table_of_the_queue_follows_from_the_rows(tmp_path: Path) -> None:
    for path in ("experiments.toml", "scores"):
        (tmp_path / path).symlink_to(RESULTS / path)
    [written] = write_states(tmp_path)
    committed = (RESULTS / "experiments.md").read_text(encoding="utf-8")
    assert written.read_text(encoding="utf-8") == committed, "make it again with ganbench reproduce --list"


def test_every_committed_table_has_its_experiment() -> None:
    names = {experiment.name for experiment in QUEUE}
    for path in (RESULTS / "scores").glob("*.csv"):
        suite, _, budget = re.fullmatch(r"(.+)-v(\d+)-(.+)", path.stem).groups()
        assert f"{suite} {budget}" in names, path.name
        [datasets] = {tuple(sorted({line.split(",")[3] for line in path.read_text().splitlines()[1:]}))}
        planned = {
            one for e in QUEUE if e.name == f"{suite} {budget}" for one in e.datasets or read_suite(suite).datasets
        }
        assert set(datasets) <= planned, path.name


def test_no_experiment_is_named_twice() -> None:
    pairs = [(e.name, dataset) for e in QUEUE for dataset in e.datasets or read_suite(e.suite).datasets]
    assert len(set(pairs)) == len(pairs)


def committed(results: Path, *runs: tuple[str, int], **other: object) -> None:
    """Write two score rows for each (model, seed), of today's code unless said otherwise."""
    rows = []
    for model, seed in runs:
        spec = expand(read_suite("digits"), "quick", [model])[model][0]
        today = dict(zip(IDENTITY, identity(spec), strict=True))
        rows += [ScoreRow(**{**row(model, 1.0, seed, metric=m, seconds=1800.0), **today, **other}) for m in "ab"]
    write_rows(results / "scores" / f"digits-v{rows[0].version}-quick.csv", rows)


@pytest.mark.parametrize(
    ("runs", "state", "hours", "lacking"),
    [
        ([], "missing", "", ["gan", "vae"]),
        ([("gan", 0)], "partial: 1/3 seeds, 1/2 models", "0.5", ["gan", "vae"]),
        ([("gan", 0), ("gan", 1), ("gan", 2)], "partial: 3/3 seeds, 1/2 models", "1.5", ["vae"]),
        ([("gan", 0), ("gan", 1), ("gan", 2), ("vae", 1)], "partial: 1/3 seeds, 2/2 models", "2", ["vae"]),
        ([("wgan", 0)], "missing", "", ["gan", "vae"]),  # another model's
        ([(model, seed) for model in ("gan", "vae") for seed in range(4)], "done", "3", []),
    ],
)
def test_state_follows_from_the_rows(
    runs: list[tuple[str, int]], state: str, hours: str, lacking: list[str], tmp_path: Path
) -> None:
    if runs:
        committed(tmp_path, *runs)
    [line] = states([ONE], tmp_path).to_dict("records")
    assert (line["state"], line["hours"]) == (state, hours)
    assert Coverage(ONE, tmp_path).lacking() == ({"digits": lacking} if lacking else {})


@pytest.mark.parametrize("other", [{"code_hash": ""}, {"version": 1}, {"config_hash": "0"}])
def test_rows_of_earlier_code_are_not_done(other: dict[str, object], tmp_path: Path) -> None:
    committed(tmp_path, ("gan", 0), ("vae", 0), **other)
    [line] = states([replace(ONE, seeds=1)], tmp_path).to_dict("records")
    assert (line["state"], line["hours"]) == ("of earlier code", "")


def test_seconds_that_nobody_noted_are_no_hours(tmp_path: Path) -> None:
    committed(tmp_path, ("gan", 0), ("vae", 0), seconds=float("nan"))
    [line] = states([replace(ONE, seeds=1)], tmp_path).to_dict("records")
    assert (line["state"], line["hours"]) == ("done", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "does not exist"),
        ("[[experiment]]\nsuite = 'digits'\n", "experiment.0.budget: Field required"),
        ("[[experiment]]\nsuite = 'digits'\nbudget = 'quick'\nwhy = ''\nhours = 3\n", "experiment.0.hours"),
        ("[[experiment", "experiments.toml'"),
    ],
)
def test_a_faulty_queue_is_one_line(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "experiments.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)):
        read_experiments(path)
