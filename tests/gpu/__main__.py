"""Everything that needs a CUDA card, piece after piece, until the time is up: `python -m tests.gpu`.

What is done is skipped by the next call; what was broken off goes on. A piece that failed is tried again only when
`--only` names it. The summary, after every call: OUT/summary.md and OUT/summary.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ganbench.records import write_whole
from tests.gpu import summary
from tests.gpu.plan import Piece, pieces

ROOT = Path(__file__).parents[2]
LEAST = 10.0  # seconds that are worth a start
GRACE = 20.0  # seconds that a piece gets to stop in


def run(piece: Piece, log: Path, seconds: float) -> int | None:
    """Run a piece for at most so many seconds; return its exit code, None if it had to stop."""
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen([sys.executable, *piece.command], cwd=ROOT, stdout=file, stderr=file)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:  # whatever ends this call must not leave a piece on the card
            stop(process)


def stop(process: subprocess.Popen) -> None:
    """End a process that still runs, as Ctrl-C does, or else by force."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def advance(piece: Piece, before: dict[str, Any], log: Path, left: float, limit: float) -> dict[str, Any]:
    """Run a piece and return its new state: done, failed or open, its seconds and calls so far, and an error."""
    began = time.monotonic()
    code = run(piece, log, left)
    seconds = time.monotonic() - began
    new = {
        "seconds": before.get("seconds", 0.0) + seconds,
        "calls": before.get("calls", 0) + 1,
        "state": "done" if code == 0 else "open",
    }
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        new |= {"state": "failed", "error": lines[-1] if lines else f"exit code {code}"}
    elif code is None and not piece.resumable and left > 0.9 * limit:
        new |= {"state": "failed", "error": f"takes longer than {limit:.0f} s and cannot be resumed"}
    return new


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 if a piece has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--limit", type=float, default=540, help="seconds after which this call stops")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="a rehearsal: every piece at a size that takes seconds"
    )
    parser.add_argument("--only", default="", help="pieces whose name contains this, failed ones again")
    parser.add_argument("--list", action="store_true", help="print the pieces and their state, run nothing")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" and not (chosen.list or torch.cuda.is_available()):
        parser.error("there is no CUDA device; --device cpu --tiny rehearses without one")
    began, out = time.monotonic(), chosen.out.resolve()
    path = out / "state.json"
    kind = {"device": chosen.device, "tiny": chosen.tiny}
    state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {**kind, "pieces": {}}
    if {name: state[name] for name in kind} != kind:
        parser.error(f"{out} holds results of another device or size; give another --out")
    plan = [piece for piece in pieces(out, chosen.device, chosen.tiny) if chosen.only in piece.name]
    over = ("done",) if chosen.only else ("done", "failed")
    known = state["pieces"]
    for piece in plan:
        before = known.get(piece.name, {})
        if chosen.list:
            print(f"{before.get('state', 'open'):6}  {piece.name}: python {' '.join(piece.command)}")
            continue
        left = chosen.limit - (time.monotonic() - began)
        if before.get("state") in over or left < LEAST:
            continue
        (out / "logs").mkdir(parents=True, exist_ok=True)
        log = out / "logs" / f"{piece.name.replace(' ', '-')}.txt"
        known[piece.name] = new = advance(piece, before, log, left, chosen.limit)
        write_whole(path, json.dumps(state, indent=1) + "\n")
        print(f"{new['state']:6}  {piece.name}, {new['seconds']:.0f} s  {new.get('error', '')}", flush=True)
    if chosen.list:
        return 0
    summary.write(out, state)
    waiting = sum(known.get(piece.name, {}).get("state", "open") == "open" for piece in plan)
    print(f"{waiting} pieces left: run the same command again" if waiting else f"all done: {out}/summary.md")
    return int(any(piece["state"] == "failed" for piece in known.values()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
