"""From a leaderboard frame to text: every model and metric is there, escaped, with sensible digits."""

import io
import math
import re
from collections.abc import Callable

import pandas as pd
import pytest
from rich.console import Console

from ganbench.reporting.leaderboard import aggregate
from ganbench.reporting.render import FORMATS, render, terminal
from ganbench.reporting.reproduction import number
from ganbench.reporting.tables import cost, tables
from tests.reporting.test_leaderboard import lost, published, row, seeds

MODELS = {"gan": [1.0, 1.1, 0.9], "fgan-weighted-jensen-shannon": [5.0, 5.2, 4.8], "vae": [5.1, 4.9, 5.05]}
METRICS = (
    "fid@lenet-mnist-v1",
    "kid@lenet-mnist-v1",
    "parzen-goodfellow",
    "reconstruction-mse",
    "coverage@pixels",
)


def frame(*rows: dict[str, object], reported: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the leaderboard of three models, a reference and further rows."""
    own = [
        line
        for metric in METRICS
        for model, values in MODELS.items()
        for line in seeds(model, values, metric=metric, protocol=f"{metric} v1")
    ]
    real = seeds("real-train", [0.1, 0.2, 0.3], metric=METRICS[0], protocol=f"{METRICS[0]} v1", role="copy")
    return aggregate(pd.DataFrame([*own, *real, *rows]), reported)


def rich(board: pd.DataFrame, width: int) -> str:
    """Return what a terminal of that width shows."""
    return terminal(board, Console(width=width, file=io.StringIO(), color_system=None))


def pieces(text: str) -> str:
    """Return a table's text without its lines, folded cells put together column by column."""
    columns: dict[int, str] = {}
    for line in text.splitlines():
        for place, cell in enumerate(re.split("[│┃]", line)):
            columns[place] = columns.get(place, "") + cell.strip()
    return "\n".join(columns.values())


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (3.2149, 0.0421, "3.215 ± 0.042"),
        (135.694, 9.75, "135.7 ± 9.8"),
        (139.6, 24.1, "140 ± 24"),
        (-37.81, 3.125, "-37.8 ± 3.1"),
        (0.00123456, 0.0000789, "0.001235 ± 0.000079"),
        (1234.5678, math.nan, "1235"),
        (0.12345678, 0.0, "0.1235"),
        (0.123456, 1e-17, "0.1235 ± 1e-17"),
        (1.5e9, 2.5e7, "1.5e+09 ± 2.5e+07"),
        (math.nan, math.nan, "–"),
        (math.inf, math.nan, "inf"),
        (-math.inf, math.nan, "-inf"),
    ],
)
def test_digits_follow_the_interval(mean: float, half: float, text: str) -> None:
    assert number(mean, half) == text


def test_csv_parses_back_at_full_precision() -> None:
    board = frame(row("third", 1 / 3, metric="extra", protocol="extra v1"), reported=published(model="gan"))
    back = pd.read_csv(io.StringIO(render(board, "csv")), dtype=str)
    for column in ("mean", "low", "high", "sampling_error", "rank", "gap"):
        assert back[column].fillna("nan").map(float).equals(board[column].astype(float)), column
    assert list(back["model"]) == list(board["model"])


@pytest.mark.parametrize("form", ["md", "html", "latex", "csv"])
def test_every_model_and_metric_is_there(form: str) -> None:
    text = render(frame(), form)
    for name in (*MODELS, "real-train", *METRICS):
        assert name in text


@pytest.mark.parametrize("width", [60, 100, 200])
def test_terminal_shows_every_model_and_metric(width: int) -> None:
    text = rich(frame(), width)
    assert max(map(len, text.splitlines())) <= width
    shown = pieces(text.replace("\n@", "@"))
    for name in MODELS:
        assert name in shown
    for metric in METRICS:
        assert all(part in text for part in metric.split("@"))
    assert "…" not in text
    assert text.count("1.00 ± 0.25") == len(METRICS)


def test_a_format_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "models", lambda frame: ",".join(frame["model"].unique()))
    assert render(frame(), "models") == ",".join([*MODELS, "real-train"])


def test_references_are_called_so_and_copies_as_well() -> None:
    rows = [
        *seeds("real", [0.1, 0.2, 0.3], role="copy"),
        *seeds("mixture", [2.0, 2.1, 2.2], role="reference"),
        *seeds("gan", [1.0, 1.1, 0.9]),
    ]
    board = aggregate(pd.DataFrame(rows))
    ((_, wide, _, notes),) = tables(board)
    standing = dict(zip(wide["model"], wide["rank by fid"], strict=True))
    assert standing == {"gan": "1", "mixture": "reference", "real": "reference (copies data)"}
    assert "copies data" in notes[0] and "reference (copies data)" in render(board, "md")
    lines = rich(board, 80).splitlines()
    assert sum("reference" in line and "real" in line for line in lines) == 1
    assert sum("(copies data)" in line for line in lines) == 1


@pytest.mark.parametrize("width", [60, 100, 200])
def test_terminal_shows_published_numbers_whole(width: int) -> None:
    text = rich(frame(reported=published(model="gan", metric=METRICS[0])), width)
    flat = " ".join(text.split())
    assert "…" not in text and "does not reproduce" in flat and "Table 1" in flat and "-1.5" in flat


def test_best_first_references_last_and_ties_marked() -> None:
    (_, wide, _, _), *others = tables(frame())
    assert not others
    assert list(wide["model"]) == ["gan", "fgan-weighted-jensen-shannon", "vae", "real-train"]
    assert list(wide["rank by fid"]) == ["1", "2–3", "2–3", "reference (copies data)"]
    assert list(wide["seeds"]) == ["3/3"] * 4


def test_models_of_earlier_code_are_named() -> None:
    note = "of earlier code or settings, to be trained again: "
    rows = [*seeds("a", [1.0, 2.0]), *seeds("b", [3.0, 4.0]), *seeds("c", [5.0, 6.0])]
    for earlier, said in (((), []), ((4, 5), ["c"]), ((3, 4), ["b, c"]), ((0, 2, 4), ["all"])):  # a seed suffices
        given = [line | {"code_hash": "" if k in earlier else "c0de"} for k, line in enumerate(rows)]
        ((*_, notes),) = tables(aggregate(pd.DataFrame(given)))
        assert [text.removeprefix(note) for text in notes if text.startswith(note)] == said


def test_higher_is_better_turns_the_order() -> None:
    rows = [line for m, v in MODELS.items() for line in seeds(m, v, better="higher")]
    ((_, wide, _, _),) = tables(aggregate(pd.DataFrame(rows)))
    assert list(wide["model"]) == ["vae", "fgan-weighted-jensen-shannon", "gan"]
    assert wide.columns[3] == "fid ↑"


def test_diverged_and_missing_are_shown_with_their_reason() -> None:
    rows = [
        *seeds("a", [1.0, 3.0]),
        lost("a", "diverged", "NaN at round 7", seed=2),
        *(lost("b", "diverged", "NaN at round 3", seed=seed) for seed in range(3)),
        *seeds("c", [4.0, 5.0, 6.0]),
        *(lost("c", "unavailable", "the game has no encode", seed, metric="mse") for seed in range(3)),
    ]
    ((_, wide, _, notes),) = tables(aggregate(pd.DataFrame(rows)))
    lines = wide.set_index("model")
    assert lines.loc["a", "seeds"] == "2/3" and lines.loc["b", "seeds"] == "0/3"
    assert lines.loc["b", "fid ↓"] == "diverged" and lines.loc["b", "rank by fid"] == "–"
    assert lines.loc["c", "mse ↓"] == "–"
    assert "a: 1 of 3 seeds diverged, first: NaN at round 7" in notes
    assert "b: 3 of 3 seeds diverged, first: NaN at round 3" in notes
    assert "mse not measured for c: the game has no encode" in notes


def test_different_protocols_get_a_column_and_a_footnote_each() -> None:
    rows = [*seeds("a", [1.0, 2.0, 3.0]), *seeds("b", [1.0, 2.0, 3.0], protocol="fid v1; 500 images")]
    ((_, wide, _, notes),) = tables(aggregate(pd.DataFrame(rows)))
    assert list(wide.columns[3:]) == ["fid ↓", "fid ↓ [2]", "cost"]
    assert list(wide["fid ↓"]) == ["2.0 ± 2.5", ""] and list(wide["fid ↓ [2]"]) == ["", "2.0 ± 2.5"]
    assert "fid ↓: v1" in notes and "fid ↓ [2]: v1; 500 images" in notes


def test_each_table_has_its_own_title() -> None:
    rows = [
        row("a", 1.0, **other)
        for other in ({}, {"budget": "paper"}, {"dataset": "d2"}, {"supervision": "labelled"})
    ]
    titles = [title for title, *_ in tables(aggregate(pd.DataFrame(rows)))]
    assert titles == [
        "s v1, budget paper, d, unlabelled",
        "s v1, budget quick, d, labelled",
        "s v1, budget quick, d, unlabelled",
        "s v1, budget quick, d2, unlabelled",
    ]


def test_two_settings_of_a_model_can_be_told_by_their_hash() -> None:
    rows = [
        *seeds("a", [1.0, 2.0, 3.0]),
        *seeds("a", [5.0, 6.0, 7.0], config_hash="c1"),
        *seeds("b", [1.0, 2.0, 3.0]),
    ]
    ((_, wide, comparison, _),) = tables(aggregate(pd.DataFrame(rows), published()))
    assert set(wide["model"]) == {"a (c0)", "a (c1)", "b"}
    assert list(comparison["model"]) == ["a (c0)", "a (c1)"]


@pytest.mark.parametrize(
    ("values", "other", "verdict"),
    [
        # Published 2.5, so that the margin is 0.125.
        ([2.49, 2.5, 2.51], {}, "reproduces"),  # 2.5 +- 0.025
        ([2.55, 2.56, 2.57], {}, "reproduces"),  # a difference that is significant and small
        ([1.99, 2.0, 2.01], {}, "does not reproduce"),
        ([1.0, 2.0, 3.0], {}, "undecided"),  # 2.0 +- 2.48 reaches 2.5, as it reaches 0: variance is no merit
        ([1.5, 2.5, 3.5], {}, "undecided"),  # the right mean, by chance
        ([2.49, 2.5, 2.51], {"error": 0.2}, "undecided"),
        ([1.99, 2.0, 2.01], {"error": 0.49}, "undecided"),
        ([1.99, 2.0, 2.01], {"error": 0.3}, "does not reproduce"),
        ([8.0, 8.0, 8.0], {"value": 7.8, "error": 0.1}, "reproduces"),
        ([10.0, 5.0, 30.0], {"value": 24.6}, "undecided"),
        ([2.49, 2.5, 2.51], {"training": ""}, "other protocol"),
        ([2.49, 2.5, 2.51], {"training": "s/paper"}, "other protocol"),
        ([2.49, 2.5, 2.51], {"training": "other/quick"}, "other protocol"),
        ([2.49, 2.5, 2.51], {"comparable": False}, "not comparable"),
        ([2.5], {}, "undecided"),
        ([math.inf, 1.0], {}, "undecided"),
    ],
)
def test_verdict(values: list[float], other: dict[str, object], verdict: str) -> None:
    board = aggregate(pd.DataFrame(seeds("a", values)), published(**other))
    ((_, _, comparison, notes),) = tables(board)
    assert list(comparison["verdict"]) == [verdict]
    assert sum("within 5 % of the published number" in note for note in notes) == 1


def test_order_of_pairs_is_judged_where_intervals_part() -> None:
    """Published a < b < c < d; ours a < b, c below both, d uncertain; another paper is not mixed in."""
    numbers = {"a": (1.0, 0.01), "b": (2.0, 0.01), "c": (0.5, 0.01), "d": (1.5, 5.0)}
    rows = [row for name, (mean, s) in numbers.items() for row in seeds(name, [mean - s, mean, mean + s])]
    table = pd.concat(
        [published(model=name, value=float(i), source="One et al. 2001, Table 1") for i, name in enumerate("abcd")]
        + [published(model="a", value=9.0, source="Two et al. 2002")]
    )
    ((_, _, found, _),) = tables(aggregate(pd.DataFrame(rows), table))
    order = {(row.model, row.published): row.order for row in found.itertuples()}
    assert order["a", "0"] == order["b", "1"] == "agrees 1, contradicts 1, open 1"
    assert order["c", "2"] == "contradicts 2, open 1" and order["d", "3"] == "open 3"
    assert order["a", "9"] == ""


def test_references_are_judged_at_any_budget_for_they_are_fitted() -> None:
    for role, verdict in (("reference", "reproduces"), ("copy", "reproduces"), ("model", "other protocol")):
        board = aggregate(pd.DataFrame(seeds("a", [2.49, 2.5, 2.51], role=role)), published(training=""))
        ((_, _, comparison, _),) = tables(board)
        assert list(comparison["verdict"]) == [verdict]


def test_verdict_without_a_value() -> None:
    board = aggregate(pd.DataFrame([lost("a", "diverged", "NaN")]), published())
    ((_, _, comparison, _),) = tables(board)
    assert list(comparison["verdict"]) == ["no value"]


def unescaped(text: str, special: str) -> list[str]:
    """Return the occurrences of a special character that no backslash guards."""
    return re.findall(rf"(?<!\\){re.escape(special)}", text)


def test_latex_is_escaped() -> None:
    rows = seeds("my_model & 100%", [1.0, 2.0, 3.0], metric="f_d#1", dataset="npz:/a_b/c.npz", protocol="p")
    text = render(aggregate(pd.DataFrame(rows)), "latex")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"my\_model \& 100\%" in body and r"f\_d\#1 $\downarrow$" in body and r"npz:/a\_b/c.npz" in body
    assert r"2.0 $\pm$ 2.5" in body and body.isascii()
    assert not unescaped(body, "_") and not unescaped(body, "%") and not unescaped(body, "#")
    assert body.count("$") % 2 == 0


def test_html_is_escaped() -> None:
    rows = [*seeds("<b>model</b>", [1.0, 2.0], dataset="a<b"), lost("x", "failed", "<script>", dataset="a<b")]
    text = render(aggregate(pd.DataFrame(rows)), "html")
    assert "<script>" not in text and "<b>" not in text and "a<b" not in text
    assert "&lt;b&gt;model&lt;/b&gt;" in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("form", ["md", "html", "latex", "csv"])
def test_rendering_is_repeatable(form: str) -> None:
    make: Callable[[], str] = lambda: render(frame(reported=published(model="gan")), form)  # noqa: E731
    assert make() == make()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([18.0, 25.0, 30.0, 48.0, 262.0], "77 ± 129 (median 30)"),
        ([8.0, 8.0, 8.0, 8.0, 0.0], "6.4 ± 4.4 (median 8.0)"),  # one collapsed seed among equal ones
        ([18.0, 25.0, 30.0, 48.0, 52.0], "35 ± 18"),
        ([0.1] * 5, "0.1"),  # whose mean differs from the median by rounding
        ([18.0, 25.0, 262.0], "102 ± 345"),  # too few to tell
        ([18.0, 25.0, 30.0, math.inf], "inf"),
    ],
)
def test_a_median_stands_where_the_mean_misleads(values: list[float], text: str) -> None:
    board = aggregate(pd.DataFrame(seeds("a", values)))
    assert board.loc[0, "median"] == sorted(values)[len(values) // 2] or len(values) == 4
    ((_, wide, _, notes),) = tables(board)
    assert wide.loc[0, "fid ↓"] == text and "interquartile range" in notes[0]


@pytest.mark.parametrize(
    ("seconds", "steps", "text"),
    [
        (12.3, 20_000.0, "12 s, 20k steps"),
        (0.04, 0.0, "0.04 s, 0 steps"),
        (59.9, 950.0, "60 s, 950 steps"),
        (102.0, 1_234_000.0, "1.7 min, 1.2M steps"),
        (400_000.0, 4e8, "111 h, 400M steps"),
        (math.nan, 33_230.0, "33k steps"),
    ],
)
def test_cost_is_short(seconds: float, steps: float, text: str) -> None:
    assert cost(seconds, steps) == text


def test_cost_is_the_mean_of_the_seeds_and_equal_for_all_metrics() -> None:
    rows = [
        row("a", 1.0, seed, metric=m, seconds=10.0 + seed, steps=5000) for seed in range(3) for m in ("x", "y")
    ]
    board = aggregate(pd.DataFrame(rows))
    assert list(board["seconds"]) == [11.0, 11.0] and list(board["steps"]) == [5000, 5000]
    ((_, wide, _, notes),) = tables(board)
    assert list(wide["cost"]) == ["11 s, 5k steps"] and "equal rounds are not equal work" in notes[0]


def test_doubtful_values_are_marked_in_their_cell_and_named_below_the_table() -> None:
    rows = [
        *(row("a", 1.0 + seed, seed, detail="sigma=0.1 at the edge of the grid") for seed in range(3)),
        *(row("b", 1.0 + seed, seed, detail="sigma=0.2") for seed in range(3)),
    ]
    ((_, wide, _, notes),) = tables(aggregate(pd.DataFrame(rows)))
    (note,) = [note for note in notes if "edge" in note]
    assert note == "† fid, sigma=0.1 at the edge of the grid: a"
    cells = dict(zip(wide["model"], wide["fid ↓"], strict=True))
    assert cells == {"a": "2.0 ± 2.5 †", "b": "2.0 ± 2.5"}
