"""What must hold on a card: `python -m tests.gpu.checks waits|repeats|scores --device cuda --out FILE`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ganbench import registry
from ganbench.checks.case import Case, tiny_data
from ganbench.precision import float32_arithmetic
from ganbench.records import write_whole
from ganbench.reporting.leaderboard import load_rows
from tests.cases import CONV, DENSE, TRAINED, first_of_each_class, takes_conv
from tests.gpu.waits import no_waits

COMMITTED = Path(__file__).parents[2] / "results" / "scores" / "digits-v2-standard.csv"
WARM_UP = ROUNDS = 3
ITEMS = 2048  # so many that no epoch ends on the way: a new order comes from the host
KEY = ["model", "metric", "config_hash", "protocol"]


def cases(tiny: bool) -> Iterator[tuple[str, Case]]:
    """Yield a case of every class of game on each kind of networks that it plays with."""
    names = first_of_each_class(TRAINED)
    chosen = [(n, DENSE) for n in names] + [(n, CONV) for n in names if takes_conv(n)]
    for name, backbone in [("gan", DENSE), ("gan", CONV)] if tiny else chosen:
        yield f"{name} {backbone['kind']}", Case.of(registry.models.get(name), backbone)


def wait_of(case: Case, device: str, engine: str) -> str:
    """Return what makes the host wait in a round of two seeds, or else fail; "" if nothing does."""
    data = tiny_data(tuple(case.data.images["train"].shape[1:]), ITEMS).to(device)
    stack = replace(case, data=data).stack(0, 1, dtype=torch.float32, engine=engine)
    try:
        for _ in range(WARM_UP):
            stack.train_round()
        with no_waits(device):
            for _ in range(ROUNDS):
                stack.train_round()
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def waits(device: str, tiny: bool) -> dict[str, str]:
    """Return case and engine -> what made it wait, of those that did."""
    engines = ("eager", "graph") if device == "cuda" else ("eager",)
    found = {f"{name} {engine}": wait_of(case, device, engine) for name, case in cases(tiny) for engine in engines}
    return {name: wait for name, wait in found.items() if wait}


def repeats(device: str, tiny: bool) -> list[str]:
    """Return the cases whose parameters differ by a bit, or fail, when two seeds are trained twice."""

    def trained(case: Case) -> list[Tensor]:
        stack = replace(case, data=case.data.to(device)).stack(0, 1, dtype=torch.float32)
        for _ in range(2 * ROUNDS):
            stack.train_round()
        return [tensor.detach().cpu() for tensor in tree_leaves(stack.state)]

    def same(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
        return all(torch.equal(a.nan_to_num(7.5), b.nan_to_num(7.5)) for a, b in zip(one, other, strict=True))

    return [name for name, case in cases(tiny) if not same(trained(case), trained(case))]


def compare(rows: pd.DataFrame, committed: pd.DataFrame) -> dict[str, Any]:
    """Return how the means of trained models differ from committed ones of the same identity and protocol.

    Args:
        rows, committed: score rows, one for each seed.

    Returns:
        "cells" compared; "inside", those whose mean lies in the committed 95 % interval; "different", the names
        of those that differ by Welch's t-test with false discoveries held at 5 %.
    """

    def means(frame: pd.DataFrame) -> pd.DataFrame:
        kept = frame[(frame["role"] == "model") & (frame["status"] == "measured")]
        return kept.groupby(KEY)["value"].agg(["mean", "std", "count"])

    both = means(committed).add_prefix("cpu_").join(means(rows).add_prefix("gpu_"), how="inner")
    both = both[(both["cpu_count"] > 1) & (both["gpu_count"] > 1)]
    if both.empty:
        return {"cells": 0, "inside": 0, "different": []}
    cpu, gpu = (
        [both[f"{side}_{what}"].to_numpy() for what in ("mean", "std", "count")] for side in ("cpu", "gpu")
    )
    radius = stats.t.ppf(0.975, cpu[2] - 1) * cpu[1] / cpu[2] ** 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.ttest_ind_from_stats(*cpu, *gpu, equal_var=False).pvalue
    found = stats.false_discovery_control(np.nan_to_num(p, nan=1))  # equal constants allow no test
    return {
        "cells": len(both),
        "inside": int((np.abs(gpu[0] - cpu[0]) <= radius).sum()),
        "different": [" ".join(key[:2]) for key in both.index[found < 0.05]],
    }


def main() -> None:
    """Write what a check found."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.checks", description=__doc__)
    parser.add_argument("check", choices=("waits", "repeats", "scores"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="two games stand for all")
    parser.add_argument("--runs", type=Path, help="folder of the digits suite's runs, for the scores")
    parser.add_argument("--out", type=Path, required=True, help="file for the result, JSON")
    chosen = parser.parse_args()
    found: Any
    if chosen.check == "scores":
        found = compare(load_rows(chosen.runs.glob("*/*/scores.csv")), load_rows([COMMITTED]))
    else:
        with float32_arithmetic():
            found = {"waits": waits, "repeats": repeats}[chosen.check](chosen.device, chosen.tiny)
    write_whole(chosen.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
