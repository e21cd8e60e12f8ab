"""What stacking seeds costs, in time and memory: `python -m tests.gpu.seeds --device cuda --out FILE`."""

from __future__ import annotations

import argparse
import gc
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from ganbench import datasets
from ganbench.precision import float32_arithmetic
from ganbench.records import write_whole
from tests.opponents.table import clock
from tests.opponents.training import DCGAN, PUBLIC, SMALL, Ours, noise_images

COUNTS = (1, 5, 16, 64)
REPEATS = 5


def measure(ours: Ours, rounds: int) -> dict[str, Any]:
    """Return milliseconds a round and peak GiB of a stack, the median of some timings; or that memory ran out."""
    cuda = ours.data.images["train"].device.type == "cuda"
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        play = ours.steps()
        play(3)  # captures the graph
        seconds = statistics.median(clock(lambda: play(rounds))[0] for _ in range(REPEATS))
    except torch.cuda.OutOfMemoryError:
        return {"error": "out of memory"}
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0
    return {"round_ms": 1e3 * seconds / rounds, "peak_gib": peak}


def main() -> None:
    """Write one row for each net, arithmetic and number of seeds; those that stand in the file are kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.seeds", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="one net, up to two seeds, two rounds")
    parser.add_argument("--out", type=Path, required=True, help="file of the rows, JSON")
    chosen = parser.parse_args()
    engine = "graph" if chosen.device == "cuda" else "eager"
    digits = datasets.load("digits").to(chosen.device)
    images = noise_images("random-28", 640 if chosen.tiny else 60_000, 1, 28, 28).to(chosen.device)
    nets = {"8x8 digits": (digits, SMALL, 500), "MLP": (images, PUBLIC, 200), "DCGAN-28": (images, DCGAN, 20)}
    rows = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out.exists() else []
    known = [(row["net"], row["precision"], row["seeds"]) for row in rows]
    for net, (data, backbone, rounds) in list(nets.items())[: 1 if chosen.tiny else None]:
        for precision in ("float32", "bf16"):
            for seeds in (1, 2) if chosen.tiny else COUNTS:
                if (net, precision, seeds) in known:
                    continue
                ours = Ours(data, backbone, seeds, engine, precision)
                with float32_arithmetic():
                    found = measure(ours, 2 if chosen.tiny else rounds)
                rows.append({"net": net, "precision": precision, "seeds": seeds, "engine": engine, **found})
                write_whole(chosen.out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
