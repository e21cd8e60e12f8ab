"""What the pieces found, beside what was aimed at: summary.md and summary.json."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ganbench.evaluation.provenance import provenance
from ganbench.records import write_whole
from tests.gpu.plan import TRAININGS
from tests.opponents.table import machine

SUITE_SECONDS = 600.0  # MNIST, standard budget, five seeds
STACKED, RATIO = 64, 2.0  # small games, in at most so many times the time of one


class Target(NamedTuple):
    """What was aimed at and what came out; `met` is None where a piece has not been run."""

    what: str
    aim: str
    found: str
    met: bool | None


MET = {True: "yes", False: "no", None: ""}


def write(out: Path, state: dict[str, Any]) -> None:
    """Write both files of an output folder.

    Args:
        out: the folder.
        state: device, whether it is a rehearsal, and name -> state of the pieces.
    """
    found = {
        "hardware": hardware(state["device"]),
        "rehearsal": state["tiny"],
        "pieces": state["pieces"],
        "targets": [
            target._asdict() | ({"met": None} if state["tiny"] else {}) for target in targets(out, state["pieces"])
        ],
        "seeds": _json(out / "seeds.json") or [],
        "runs": list(runs(out)),
    }
    write_whole(out / "summary.json", json.dumps(found, indent=1) + "\n")
    write_whole(out / "summary.md", markdown(found))


def hardware(device: str) -> dict[str, str]:
    """Return machine, card, driver and versions; nothing that names the computer."""
    found = {"machine": machine(), "versions": provenance(device, torch.__version__)}
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        try:
            found["card, driver, memory"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
        except OSError:
            found["card, driver, memory"] = torch.cuda.get_device_name()
        found["CUDA"] = str(torch.version.cuda)
    return found


def targets(out: Path, pieces: dict[str, Any]) -> Iterator[Target]:
    """Yield all targets."""
    yield _tests(out)
    yield from _checks(out)
    yield from _opponents(out)
    yield from _seeds(_json(out / "seeds.json") or [])
    suite = pieces.get("suite mnist standard", {})
    seconds, over = suite.get("seconds", 0.0), suite.get("state") == "done"
    told = f"{seconds:.0f} s" + ("" if over or not suite else " so far")
    met = seconds <= SUITE_SECONDS if over else None
    yield Target("MNIST suite, standard budget, five seeds", f"<= {SUITE_SECONDS:.0f} s", told, met)
    ended = list(runs(out))
    diverged = sum(run["diverged"] for run in ended)
    finished = sum(run["finished"] for run in ended)
    yield Target(
        "runs without NaN", "all", f"{finished} of {finished + diverged}", not diverged if ended else None
    )


def _tests(out: Path) -> Target:
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for path in (out / "tests").glob("*.xml"):
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            for name in counts:
                counts[name] += int(suite.get(name, 0))
    run = counts["tests"] - counts["skipped"]
    passed = run - counts["failures"] - counts["errors"]
    told = f"{passed} of {run}, {counts['skipped']} skipped"
    return Target("GPU tests, captured graphs among them", "all pass", told, passed == run if run else None)


def _checks(out: Path) -> Iterator[Target]:
    waits = _json(out / "waits.json")
    told = "" if waits is None else "; ".join(f"{name}: {wait}" for name, wait in waits.items()) or "none"
    yield Target("games whose rounds make the host wait", "none", told, None if waits is None else not waits)
    unequal = _json(out / "repeats.json")
    told = "" if unequal is None else ", ".join(unequal) or "none"
    yield Target("games whose repeats differ by a bit", "none", told, None if unequal is None else not unequal)
    scores = _json(out / "scores.json") or {"cells": 0, "inside": 0, "different": []}
    told = f"{scores['inside']} of {scores['cells']} inside; different: {', '.join(scores['different']) or 'none'}"
    met = not scores["different"] if scores["cells"] else None
    yield Target("scores of the digits suite against the CPU's 95 % intervals", "none different", told, met)


def _opponents(out: Path) -> Iterator[Target]:
    pairs, aims = defaultdict(list), {}
    for path in sorted((out / "opponents").glob("*/*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                pairs[row["what"]].append(float(row["opponent_s"]) / float(row["ours_s"]))
                aims[row["what"]] = float(row["target"])
    for what, ratios in pairs.items():
        ratio, aim = statistics.median(ratios), aims[what]
        yield Target(what, f">= {aim:.3g} x" if aim else "", f"{ratio:.2f} x", ratio >= aim if aim else None)


def _seeds(rows: list[dict[str, Any]]) -> Iterator[Target]:
    times = {(r["net"], r["precision"], r["seeds"]): r.get("round_ms") for r in rows}
    for precision in ("float32", "bf16"):
        one, many = (times.get(("8x8 digits", precision, seeds)) for seeds in (1, STACKED))
        ratio = many / one if one and many else None
        told = f"{ratio:.2f} x" if ratio else ""
        what = f"{STACKED} small games in the time of one, {precision}"
        yield Target(what, f"<= {RATIO:g} x", told, ratio <= RATIO if ratio else None)


def runs(out: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each training that has begun: runs that ended, their seconds and peak memory."""
    for training in TRAININGS:
        ended = []
        for path in sorted((out / "runs" / training.suite).glob("*/*/status.json")):
            if json.loads((path.parent / "spec.json").read_text(encoding="utf-8"))["budget"] == training.budget:
                ended.append(json.loads(path.read_text(encoding="utf-8")))
        if ended:
            yield {
                "training": training.name,
                "finished": sum(status["state"] == "finished" for status in ended),
                "diverged": sum(status["state"] == "diverged" for status in ended),
                "training_s": sum(status["seconds"] for status in ended),
                "peak_gib": max(status["gpu_bytes"] for status in ended) / 2**30,
            }


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def markdown(found: dict[str, Any]) -> str:
    """Return the page."""
    lines = ["# On a GPU", ""]
    if found["rehearsal"]:
        lines += ["A rehearsal at tiny size: that it runs is all that it says; no target is met or missed.", ""]
    lines += [f"- {name}: {value}" for name, value in found["hardware"].items()]
    lines += _table(
        ("target", "aim", "found", "met"), [(*list(t.values())[:3], MET[t["met"]]) for t in found["targets"]]
    )
    seeds = [
        (r["net"], r["precision"], r["engine"], r["seeds"], *_costs(r), r.get("error", "")) for r in found["seeds"]
    ]
    head = ("net", "arithmetic", "engine", "seeds", "ms a round", "ms a round and seed", "peak GiB", "")
    lines += _table(head, seeds)
    head = ("training", "finished", "diverged", "seconds of training", "peak GiB")
    lines += _table(
        head, [(*list(r.values())[:3], *(f"{v:.3g}" for v in list(r.values())[3:])) for r in found["runs"]]
    )
    rows = [
        (name, p["state"], f"{p['seconds']:.0f}", p["calls"], p.get("error", ""))
        for name, p in found["pieces"].items()
    ]
    lines += _table(("piece", "state", "wall s", "calls", ""), rows)
    return "\n".join(lines) + "\n"


def _costs(row: dict[str, Any]) -> tuple[str, str, str]:
    if "round_ms" not in row:
        return "", "", ""
    return f"{row['round_ms']:.3g}", f"{row['round_ms'] / row['seeds']:.3g}", f"{row['peak_gib']:.3g}"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    """Return the lines of a table, none if it has no rows."""
    if not rows:
        return []
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return ["", *("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *cells])]
