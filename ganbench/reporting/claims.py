"""All published numbers and what the committed tables say of each: one line a number, and the count by verdict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ganbench.records import write_whole
from ganbench.reporting.leaderboard import aggregate, load_rows, read_reported
from ganbench.reporting.render import pipes
from ganbench.reporting.reproduction import number, verdict

# Of several tables the one that tells most.
ORDER = (
    "reproduces",
    "does not reproduce",
    "undecided",
    "other protocol",
    "not comparable",
    "no value",
    "no table",
)
NUMBER = ["model", "dataset", "metric", "source", "published"]
HEAD = """# Published numbers

Made by `ganbench publish` from `reported.csv` and the committed rows. Verdicts:
[docs/results.md](../docs/results.md#published-numbers).
"""


def claims(results: Path) -> pd.DataFrame:
    """Return a line per published number: model, dataset, metric, source, published, ours, verdict, table.

    Args:
        results: folder of committed results. Of several tables that hold a number the first of ORDER counts.
    """
    reported = read_reported(results)
    lines = []
    for path in sorted((results / "scores").glob("*.csv")):
        board = aggregate(load_rows([path]), reported)
        for row in board[board["published"].notna()].itertuples():
            lines.append(
                {
                    **{name: getattr(row, name) for name in NUMBER},
                    "ours": number(row.mean, row.high - row.mean),
                    "verdict": verdict(row),
                    "table": path.stem,
                }
            )
    found = pd.DataFrame(lines, columns=[*NUMBER, "ours", "verdict", "table"])
    found["place"] = found["verdict"].map(ORDER.index)
    found = found.sort_values("place", kind="stable").drop_duplicates(NUMBER).drop(columns="place")
    everything = reported.rename(columns={"value": "published"})[NUMBER]
    return everything.merge(found, how="left", on=NUMBER).fillna({"ours": "", "verdict": "no table", "table": ""})


def write_claims(results: Path) -> Path:
    """Write published.md of a folder of results, and return its path."""
    lines = claims(results)
    counts = lines["verdict"].value_counts().reindex(ORDER, fill_value=0)
    counts["all"] = len(lines)
    count = counts.rename_axis("verdict").reset_index(name="numbers")
    lines = lines.assign(published=lines["published"].map("{:.4g}".format))
    texts = (pipes(table.astype(str)) for table in (count, lines))
    path = results / "published.md"
    write_whole(path, "\n\n".join((HEAD.strip(), *texts)) + "\n")
    return path
