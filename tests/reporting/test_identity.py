"""Committed rows are those of today's suites and code, or stand in the one list of rows that are not yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from ganbench import registry
from ganbench.game import Adam
from ganbench.records import Record, changed, fingerprint
from ganbench.reporting.leaderboard import load_rows
from ganbench.reporting.publish import IDENTITY, identity, plan, shrink_legacy
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite

RESULTS = Path(__file__).parents[2] / "results"
SCORES = sorted((RESULTS / "scores").glob("*.csv"))
LEGACY_LINES = 99  # lower it when rows are replaced; the list only shrinks


def committed(scores: Path) -> set[tuple]:
    return set(load_rows([scores])[IDENTITY].itertuples(index=False, name=None))


def legacy() -> set[tuple]:
    frame = pd.read_csv(RESULTS / "legacy.csv", dtype={"config_hash": str})
    return set(frame.itertuples(index=False, name=None))


def today(scores: Path) -> Iterator[RunSpec]:
    """Yield the runs that would make committed rows today; none for rows of an older version of their suite."""
    rows = load_rows([scores])
    suite = read_suite(rows["suite"].iat[0])
    if rows["version"].iat[0] < suite.version:
        return
    yield from (specs[0] for specs in plan(suite, rows["budget"].iat[0], rows["dataset"].unique()))


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.stem)
def test_every_committed_row_is_todays_or_legacy(scores: Path) -> None:
    known = {identity(spec) for spec in today(scores)}
    strange = {row for row in committed(scores) if row not in known and row[:-1] not in legacy()}
    assert not strange, f"train again and publish, or raise the suite's version: {sorted(strange)}"


def test_the_legacy_list_names_committed_rows_only_and_does_not_grow() -> None:
    rows = {row[:-1] for scores in SCORES for row in committed(scores)}
    assert legacy() <= rows, "strike off what is no longer committed"
    assert len(legacy()) <= LEGACY_LINES


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.stem)
def test_the_settings_behind_every_row_are_kept(scores: Path) -> None:
    folder = RESULTS / "settings" / scores.stem
    named = {f"{row[4]}-{row[5]}.json" for row in committed(scores)}
    assert {path.name for path in folder.glob("*.json")} == named
    specs = {f"{spec.model}-{spec.config_hash}.json": spec for spec in today(scores)}
    for name in named:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        if "code_hash" not in values:  # legacy: the hash was that of all settings
            assert name == f"{values['model']}-{fingerprint(values['settings'], 8)}.json"
        elif name in specs:
            # A default that was changed without a new version of the suite stands here under the same name.
            was = replace(specs[name], settings=values["settings"])
            assert specs[name].agrees(was), f"a default of {values['model']} changed: raise the suite's version"


def test_a_neutral_option_changes_no_identity() -> None:
    wider = make_dataclass("Adam", [("weight_decay", float, field(default=0.0))], bases=(Adam,), frozen=True)
    assert changed(wider(lr=0.1)) == changed(Adam(lr=0.1))
    assert changed(wider(lr=0.1, weight_decay=0.5)) != changed(Adam(lr=0.1))
    spec = expand(read_suite("digits"), "quick", ["gan"])["gan"][0]
    more = replace(spec, settings={**spec.settings, "new_option": False})
    assert more.hash == spec.hash and more.agrees(spec)


def test_a_changed_default_is_noticed_though_the_name_stays() -> None:
    spec = expand(read_suite("digits"), "quick", ["gan"])["gan"][0]
    settings = {**spec.settings, "instance_noise": 0.5}
    other = replace(spec, settings=settings)
    assert other.hash == spec.hash and not other.agrees(spec)


def test_identity_keeps_what_differs_and_the_kinds_of_records() -> None:
    @dataclass(frozen=True)
    class Inner(Record):
        rate: float = 1.0
        kind: str = "inner"

    @dataclass(frozen=True)
    class Outer(Record):
        size: int
        inner: Inner = Inner()
        pair: tuple[float, float] = (0.0, 1.0)

    assert changed(Outer(3)) == {"size": 3}
    assert changed(Outer(3, Inner(2.0))) == {"size": 3, "inner": {"rate": 2.0, "kind": "inner"}}
    assert changed(Outer(3, pair=(0.0, 2.0))) == {"size": 3, "pair": [0.0, 2.0]}


def test_every_model_of_every_suite_has_an_identity_of_its_own() -> None:
    for name in ("digits", "mixtures", "clustering"):
        specs = [spec for spec in (s[0] for s in expand(read_suite(name), "quick").values())]
        assert len({spec.config_hash for spec in specs}) == len(specs)
        for spec in specs:
            again = registry.models.get(spec.model).changed(spec.settings)
            assert again == spec.changed


def test_publishing_strikes_replaced_rows_off_the_legacy_list(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / SCORES[0].name).write_bytes(SCORES[0].read_bytes())
    (tmp_path / "legacy.csv").write_bytes((RESULTS / "legacy.csv").read_bytes())
    shrink_legacy(tmp_path)
    left = pd.read_csv(tmp_path / "legacy.csv", dtype=str)
    assert {tuple(row) for row in left[["model", "config_hash"]].to_numpy()} <= {
        row[4:6] for row in committed(SCORES[0])
    }
    assert list(left) == IDENTITY[:-1] and len(left) < LEGACY_LINES
