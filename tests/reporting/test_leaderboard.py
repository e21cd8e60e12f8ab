"""Leaderboard mathematics on frames small enough to be done by hand."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ganbench.errors import UserError
from ganbench.reporting.leaderboard import TABLE, aggregate, choose, load_rows, read_reported, results_folder
from ganbench.reporting.render import render
from ganbench.runs.scores import ScoreRow, write_rows
from tests.builders import rows as synthetic_rows

T2 = 4.302652729749464  # 97.5 % quantile of Student's t with 2 degrees of freedom


def row(model: str, value: float, seed: int = 0, **other: object) -> dict[str, object]:
    """Return one measured row of a made-up suite."""
    return {
        "suite": "s",
        "version": 1,
        "budget": "quick",
        "dataset": "d",
        "model": model,
        "role": "model",
        "supervision": "unlabelled",
        "config_hash": "c0",
        "code_hash": "",
        "seed": seed,
        "metric": "fid",
        "better": "lower",
        "value": value,
        "std_error": 0.5,
        "n": 100,
        "protocol": "fid v1",
        "detail": "",
        "status": "measured",
        "reason": "",
        "seconds": 12.0,
        "steps": 20_000,
        "provenance": "",
        **other,
    }


def seeds(model: str, values: Sequence[float], **other: object) -> list[dict[str, object]]:
    """Return the rows of one model, a seed each."""
    return [row(model, value, seed, **other) for seed, value in enumerate(values)]


def lost(model: str, status: str, reason: str, seed: int = 0, **other: object) -> dict[str, object]:
    """Return a row without a value, whose protocol is the bare one that measuring writes."""
    return row(model, math.nan, seed, status=status, reason=reason, protocol="fid v1 only", **other)


def board(*rows: list[dict[str, object]] | dict[str, object], **options: pd.DataFrame) -> pd.DataFrame:
    """Aggregate rows; index by model."""
    flat = [one for part in rows for one in (part if isinstance(part, list) else [part])]
    return aggregate(pd.DataFrame(flat), options.get("reported")).set_index("model", drop=False)


def published(**other: object) -> pd.DataFrame:
    """Return one published number."""
    line = {"model": "a", "dataset": "d", "metric": "fid", "value": 2.5, "error": math.nan}
    line |= {"source": "Table 1", "comparable": True, "note": "", "protocol": "", "training": "s/quick"}
    return pd.DataFrame([{**line, **other}])


def test_mean_and_interval() -> None:
    line = board(seeds("a", [1.0, 2.0, 3.0])).loc["a"]
    assert line["mean"] == 2.0
    assert line["high"] - 2.0 == pytest.approx(T2 / math.sqrt(3), rel=1e-9)
    assert 2.0 - line["low"] == pytest.approx(T2 / math.sqrt(3), rel=1e-9)
    assert (line["measured"], line["seeds"], line["diverged"]) == (3, 3, 0)
    assert line["sampling_error"] == 0.5


def test_one_seed_has_no_interval_and_no_winner() -> None:
    frame = board(row("a", 1.0), row("b", 100.0))
    assert frame["low"].isna().all() and frame["high"].isna().all()
    assert list(frame["rank"]) == [1, 1] and list(frame["worst_rank"]) == [2, 2]


@pytest.mark.parametrize(("better", "first"), [("lower", "a"), ("higher", "c")])
def test_clear_winner_and_two_that_are_tied(better: str, first: str) -> None:
    values = {"a": [1.0, 1.1, 0.9], "b": [5.0, 5.2, 4.8], "c": [5.1, 4.9, 5.3]}
    if better == "higher":
        values = {"c": [9.0, 9.1, 8.9], "a": [5.0, 5.2, 4.8], "b": [5.1, 4.9, 5.3]}
    frame = board(*(seeds(name, numbers, better=better) for name, numbers in values.items()))
    others = [name for name in values if name != first]
    assert frame.loc[first, "rank"] == frame.loc[first, "worst_rank"] == 1
    assert list(frame.loc[others, "rank"]) == [2, 2] and list(frame.loc[others, "worst_rank"]) == [3, 3]


def test_rank_counts_only_significant_differences() -> None:
    """b reaches both neighbours, a and c are apart: 1, 1, 2."""
    frame = board(seeds("a", [1.0, 1.2, 0.8]), seeds("b", [1.0, 2.0, 3.0]), seeds("c", [3.0, 3.1, 2.9]))
    assert list(frame["rank"]) == [1, 1, 2] and list(frame["worst_rank"]) == [2, 3, 3]


def test_many_equal_models_rarely_differ_significantly() -> None:
    """400 tables of 8 models of one law: without correction about 60 % of them would rank somebody first."""
    generator = np.random.default_rng(0)
    rows = [
        row(f"m{model}", value, seed, dataset=f"d{table}")
        for table in range(400)
        for model in range(8)
        for seed, value in enumerate(generator.normal(size=5))
    ]
    worst = board(rows).groupby("dataset")["rank"].max()
    assert (worst > 1).mean() < 0.08


def test_equal_constants_tie_and_different_constants_do_not() -> None:
    frame = board(seeds("a", [1.0] * 3), seeds("b", [1.0] * 3), seeds("c", [2.0] * 3))
    assert list(frame["rank"]) == [1, 1, 3]


def test_values_that_differ_by_rounding_only_give_no_warning() -> None:
    frame = board(seeds("a", [1.0, 1.0 + 1e-15, 1.0]), seeds("b", [1.0, 1.0, 1.0 + 1e-15]))
    assert list(frame["rank"]) == [1, 1]


def test_diverged_seed_counts_and_is_never_dropped() -> None:
    frame = board(
        seeds("a", [1.0, 3.0]), lost("a", "diverged", "NaN at round 7", seed=2), seeds("b", [9, 9.5, 9.2])
    )
    line = frame.loc["a"]
    assert isinstance(line, pd.Series), "the lost seed must not stand on a line of its own"
    assert (line["measured"], line["seeds"], line["diverged"]) == (2, 3, 1)
    assert line["mean"] == 2.0 and line["reason"] == "NaN at round 7"


def test_diverged_seed_stays_with_the_protocol_of_its_own_model() -> None:
    frame = board(
        seeds("a", [1.0, 3.0], protocol="fid v1; 500 images"),
        lost("a", "diverged", "NaN at round 7", seed=2),
        seeds("b", [2.0, 3.0, 4.0]),
    )
    assert frame.loc["a", "seeds"] == 3 and frame.loc["a", "protocol"] == "fid v1; 500 images"


def test_all_seeds_diverged() -> None:
    frame = board([lost("a", "diverged", "NaN", seed=s) for s in range(3)], seeds("b", [1.0, 2.0, 3.0]))
    line = frame.loc["a"]
    assert math.isnan(line["mean"]) and math.isnan(line["rank"]) and line["diverged"] == 3
    assert line["protocol"] == "fid v1" and frame.loc["b", "rank"] == frame.loc["b", "worst_rank"] == 1


def test_nothing_measured_at_all() -> None:
    frame = board(lost("a", "unavailable", "the game has no encode"))
    assert math.isnan(frame.loc["a", "rank"]) and frame.loc["a", "protocol"] == ""


def test_references_stand_outside_the_ranking() -> None:
    frame = board(seeds("a", [5.0, 5.1, 4.9]), seeds("real", [0.1, 0.1, 0.2], role="copy"))
    assert frame.loc["a", "rank"] == 1 and math.isnan(frame.loc["real", "rank"])


def test_infinite_values_are_kept_and_differ_significantly_from_nothing() -> None:
    frame = board(seeds("a", [1.0, math.inf, 2.0]), seeds("b", [1.0, 2.0, 3.0]), seeds("c", [7.0, 7.1, 7.2]))
    assert frame.loc["a", "mean"] == math.inf and math.isnan(frame.loc["a", "high"])
    assert frame.loc["a", "rank"] == 1 and frame.loc["b", "rank"] == 1


def test_different_protocols_never_share_a_line_or_a_rank() -> None:
    frame = board(seeds("a", [1.0, 1.1, 0.9]), seeds("b", [5.0, 5.1, 4.9], protocol="fid v1; 500 images"))
    assert list(frame["protocol"]) == ["fid v1", "fid v1; 500 images"]
    assert list(frame["rank"]) == [1, 1] and list(frame["worst_rank"]) == [1, 1]


@pytest.mark.parametrize(("column", "other"), list(zip(TABLE, ["s2", 2, "paper", "d2", "labelled"], strict=True)))
def test_tables_are_apart(column: str, other: object) -> None:
    frame = board(seeds("a", [1.0, 1.1, 0.9]), seeds("b", [5.0, 5.1, 4.9], **{column: other}))
    assert list(frame["rank"]) == [1, 1] and frame[column].nunique() == 2


def test_two_settings_of_a_model_are_two_lines() -> None:
    frame = board(seeds("a", [1.0, 1.1, 0.9]), seeds("a", [5.0, 5.1, 4.9], config_hash="c1"))
    assert list(frame["mean"].round(9)) == [1.0, 5.0] and list(frame["rank"]) == [1, 2]


def test_a_seed_that_comes_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"^a has two rows of fid for seed 0 .*raise its version"):
        board(row("a", 1.0), row("a", 2.0))


def test_published_number_joins_equal_model_dataset_and_metric_only() -> None:
    assert board(seeds("a", [1.0, 2.0, 3.0]), reported=published()).loc["a", "gap"] == -0.5
    for column in ("model", "dataset", "metric"):
        line = board(seeds("a", [1.0, 2.0, 3.0]), reported=published(**{column: "other"})).loc["a"]
        assert math.isnan(line["published"]) and math.isnan(line["gap"])


def test_published_number_may_ask_for_a_protocol() -> None:
    """Thirty clusters are not compared with ten."""
    ours = [seed | {"protocol": "v1; K=30; test"} for seed in seeds("a", [1.0, 2.0, 3.0])]
    assert board(ours, reported=published(protocol="K=30")).loc["a", "gap"] == -0.5
    assert math.isnan(board(ours, reported=published(protocol="K=10")).loc["a", "published"])


def test_number_that_cannot_be_compared_has_no_gap() -> None:
    line = board(seeds("a", [1.0, 2.0, 3.0]), reported=published(comparable=False)).loc["a"]
    assert line["published"] == 2.5 and math.isnan(line["gap"])


def test_aggregate_leaves_its_input_alone() -> None:
    rows = pd.DataFrame([row("a", 1.0), lost("b", "failed", "no")])
    before = rows.copy()
    aggregate(rows)
    pd.testing.assert_frame_equal(rows, before)


def test_choose() -> None:
    rows = pd.DataFrame([row("a", 1.0, metric=m) for m in ("fid@x", "fid@y", "kid@x")])
    assert list(choose(rows, "s", metrics=["fid"])["metric"]) == ["fid@x", "fid@y"]
    assert list(choose(rows, "s", "quick", ["kid@x"])["metric"]) == ["kid@x"]
    with pytest.raises(UserError, match=r"unknown metric .*'fid@z'; did you mean fid@"):
        choose(rows, "s", metrics=["fid@z"])
    with pytest.raises(UserError, match=r"unknown budget .*'paper'; known: quick"):
        choose(rows, "s", "paper")


def test_score_files_keep_full_precision(tmp_path: Path) -> None:
    rows = [ScoreRow(**row("a", value, seed)) for seed, value in enumerate([1 / 3, math.pi * 1e-300, -math.inf])]
    rows.append(ScoreRow(**lost("b", "failed", 'a "quoted", reason;\nof two lines')))
    write_rows(tmp_path / "scores.csv", rows)
    frame = load_rows([tmp_path / "scores.csv"])
    assert list(frame["value"][:3]) == [1 / 3, math.pi * 1e-300, -math.inf] and math.isnan(frame["value"][3])
    assert frame["reason"][3] == 'a "quoted", reason; of two lines'


@pytest.mark.parametrize("damage", ["half a row", "another table", "binary", "zeros", "a word for a number"])
def test_damaged_score_file_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "scores.csv"
    write_rows(path, [ScoreRow(**row("a", 1.5, seed)) for seed in range(3)])
    whole = path.read_bytes()
    half = whole[: whole.rindex(b"fid v1")]
    path.write_bytes(
        {
            "half a row": half,
            "another table": b"x,y\n1,2\n",
            "binary": b"\xff\xfe\x00\x81" * 50,
            "zeros": half + b"\0" * 100,
            "a word for a number": whole.replace(b"1.5", b"good"),
        }[damage]
    )
    with pytest.raises(UserError, match=rf"^'{path}' is not a score file: .*; delete it and measure again$"):
        load_rows([path])


def test_reported_numbers_are_there_and_missing_ones_are_named(tmp_path: Path) -> None:
    assert {"model", "dataset", "metric", "value", "source"} <= set(read_reported(results_folder()))
    with pytest.raises(UserError, match=r"reported.csv' is missing; make it with ganbench publish"):
        read_reported(tmp_path)


EXACT = {"rtol": 1e-12, "atol": 0, "check_dtype": False, "check_names": False}


def slowly(group: pd.DataFrame) -> pd.DataFrame:
    """Return mean, interval and ranks of one table's metric, one model and one pair at a time."""
    out, values = {}, {}
    for model, own in group.groupby("model", sort=False):
        values[model] = own.loc[own["status"] == "measured", "value"].to_numpy()
        count = len(values[model])
        low = high = math.nan
        if count > 1 and np.isfinite(values[model]).all() and np.ptp(values[model]) > 0:
            interval = stats.ttest_1samp(values[model], 0).confidence_interval(0.95)
            low, high = interval.low, interval.high
        elif count > 1 and np.isfinite(values[model]).all():
            low = high = values[model][0]
        mean = values[model].mean() if count else math.nan
        out[model] = {"mean": mean, "low": low, "high": high, "measured": count, "seeds": len(own)}
    ranked = [model for model in out if len(values[model])]
    pairs = list(combinations(ranked, 2))
    adjusted = stats.false_discovery_control([welch(values[a], values[b]) for a, b in pairs])
    for model in out:
        out[model] |= {"rank": math.nan, "worst_rank": math.nan}
        if model in ranked:
            out[model] |= {"rank": 1.0, "worst_rank": float(len(ranked))}
    for (a, b), p in zip(pairs, adjusted, strict=True):
        if p < 0.05:
            swap = (out[a]["mean"] > out[b]["mean"]) == (group["better"].iat[0] == "lower")
            winner, loser = (b, a) if swap else (a, b)
            out[loser]["rank"] += 1
            out[winner]["worst_rank"] -= 1
    return pd.DataFrame.from_dict(out, orient="index")


def welch(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of a pair; 1 where there is no test."""
    if min(len(a), len(b)) < 2 or not np.isfinite([*a, *b]).all():
        return 1.0
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return float(a[0] == b[0])
    moments = [moment for x in (a, b) for moment in (x.mean(), x.std(ddof=1), len(x))]
    return float(stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue)


@pytest.mark.parametrize(
    ("models", "count", "lost_share"), [(40, 5, 0.1), (60, 3, 0.2), (30, 2, 0.3), (25, 1, 0.2), (30, 12, 0.0)]
)
def test_statistics_are_those_of_a_slow_direct_computation(models: int, count: int, lost_share: float) -> None:
    rows = pd.DataFrame([asdict(one) for one in synthetic_rows(models, count, 2, suites=2, lost=lost_share)])
    measured = rows["status"] == "measured"
    for model, value in (("model-00001", 3.0), ("model-00002", 3.0), ("model-00003", 9.0)):
        rows.loc[measured & (rows["model"] == model), "value"] = value
    rows.loc[measured & (rows["model"] == "model-00004") & (rows["seed"] == 0), "value"] = math.inf
    rows = rows.sample(frac=1, random_state=0)  # the order of rows decides nothing
    frame = aggregate(rows)
    columns = ["mean", "low", "high", "measured", "seeds", "rank", "worst_rank"]
    decided = 0
    for key, group in rows.groupby(["suite", "metric"]):
        mine = frame[(frame["suite"] == key[0]) & (frame["metric"] == key[1])].set_index("model")[columns]
        slow = slowly(group)[columns]
        pd.testing.assert_frame_equal(mine, slow.loc[mine.index], **EXACT)
        decided += (slow["rank"] > 1).sum()
    assert decided > 0 or count == 1


def test_table_of_ten_thousand_runs_in_as_many_files(tmp_path: Path) -> None:
    """2,000 models of 5 seeds: level k has mean k, and only neighbours can be confused."""
    draw = np.random.default_rng(0)
    head = ",".join(ScoreRow.__dataclass_fields__) + "\n"
    for model in range(2000):
        for seed in range(5):
            line = row(f"m{model:04d}", 10.0 * (model // 2) + draw.normal(), seed, config_hash=f"{model:08x}")
            folder = tmp_path / f"m{model:04d}" / str(seed)
            folder.mkdir(parents=True)
            (folder / "scores.csv").write_text(head + ",".join(map(str, line.values())) + "\n", encoding="utf-8")
    rows = load_rows(tmp_path.glob("*/*/scores.csv"))
    assert len(rows) == 10_000 and list(rows.columns) == head.strip().split(",")
    frame = aggregate(rows).set_index("model")
    assert (frame["seeds"] == 5).all() and len(frame) == 2000
    place = 2 * (np.arange(2000) // 2)
    apart = (frame["rank"] == place + 1) & (frame["worst_rank"] == place + 2)
    exact = (frame["rank"] >= place + 1) & (frame["worst_rank"] <= place + 2)
    assert exact.all() and apart.mean() > 0.8, "twins are ties, all others differ"
    text = render(frame.reset_index(), "md")
    assert text.count("\n| ") > 2000 and text.index("| m0000 ") < text.index("| m1999 ")
