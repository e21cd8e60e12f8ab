"""Peak memory of the metrics on features in a file, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganbench.metrics import authenticity, frechet, inception_score, kernel, neighbours, parzen, reconstruction
from ganbench.metrics.numerics.blocks import BLOCK, COLUMNS, PANEL, ROWS

ROOT = Path(__file__).parent.parent.parent
D = 2048
MB = 10**6
OVERHEAD = 64 * MB
"buffers of the libraries and of the allocator, whatever the metric"


@dataclass(frozen=True)
class Use:
    """How one metric is called, and the memory that its blocks explain.

    Args:
        call: (x, y, queries) -> anything; x and y are (n, d), in a file.
        numbers: float64 numbers held at once, without those of each thread.
        each: float64 numbers held by each thread.
        pairs: whether all pairs are visited, so that only some queries are asked.
    """

    call: Callable[[Tensor, Tensor, int], object]
    numbers: int
    each: int = 0
    pairs: bool = False

    def bound(self) -> int:
        """Return bytes."""
        return 8 * (self.numbers + torch.get_num_threads() * self.each) + OVERHEAD


@dataclass(frozen=True)
class Peak:
    """Bytes that a metric used beside its features, the bound, and how it was called."""

    metric: str
    used: int
    bound: int
    pairs: bool


def _memberships(x: Tensor, y: Tensor, queries: int) -> object:
    radii = torch.full((len(y),), 1e3, dtype=torch.float64)
    return neighbours.memberships(y, x[:queries], radii, radii[:queries], k=neighbours.K)


_PANELS, _TILES = 2 * PANEL, 4 * BLOCK * COLUMNS  # a panel and its squares; distances and what is made of them

USES = {
    "fid": Use(lambda x, y, _: frechet.frechet_distance(x, y), 3 * ROWS * D + 10 * D * D),
    "kid": Use(
        lambda x, y, _: kernel.mmd2_of_subsets(x, y),
        0,
        3 * kernel.SUBSET_SIZE * D + 4 * BLOCK * kernel.SUBSET_SIZE,
    ),
    "inception-score": Use(lambda x, y, _: inception_score.inception_scores(x), 4 * ROWS * D),
    "reconstruction-mse": Use(lambda x, y, _: reconstruction.squared_errors(x, y), 4 * ROWS * D),
    "radii of balls": Use(
        lambda x, y, m: neighbours.squared_to_nearest(x[:m], y, neighbours.K + 1), _PANELS, _TILES, pairs=True
    ),
    "precision, recall, density, coverage": Use(_memberships, _PANELS, _TILES, pairs=True),
    "parzen": Use(
        lambda x, y, m: parzen.log_likelihoods(x[:m], y, parzen.goodfellow_grid()), _PANELS, _TILES, pairs=True
    ),
    "authenticity": Use(
        lambda x, y, m: authenticity.authentic(x[:m], y), _PANELS + 3 * ROWS * D, _TILES, pairs=True
    ),
}


def _own_bytes() -> int:
    """Return the memory of this process that belongs to no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))


def _watch(call: Callable[[], object]) -> int:
    """Return the largest growth of memory during a call, looked at every two milliseconds."""
    before, most, done = _own_bytes(), 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, _own_bytes() - before)
            time.sleep(0.002)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return most


def _write_features(path: Path, n: int) -> None:
    """Write (n, D) positive float32 features block by block."""
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as file:
        for start in range(0, n, ROWS):
            file.write(torch.rand(min(ROWS, n - start), D, generator=generator).numpy().tobytes())


def _child(name: str, path: str, n: int, queries: int) -> None:
    """Print the bytes that one metric uses on a file of n + 1 features: the first n against the last n."""
    items = torch.from_file(path, shared=True, size=(n + 1) * D, dtype=torch.float32).view(n + 1, D)
    use, small = USES[name], torch.rand(1100, 8)
    use.call(small, small.flip(0), 1100)  # libraries load and threads start before the watch begins
    print(_watch(lambda: use.call(items[:-1], items[1:], queries)))


def measure(name: str, n: int, queries: int) -> Peak:
    """Return the peak memory of one metric beside n x 2048 features on either side, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.bin"
        _write_features(path, n + 1)
        command = [sys.executable, "-m", "tests.opponents.memory", name, str(path), str(n), str(queries)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Peak(name, int(done.stdout.split()[-1]), USES[name].bound(), USES[name].pairs)


def markdown(peaks: list[Peak], n: int, queries: int, machine: str) -> str:
    """Return the table as a page."""
    lines = [
        f"# Memory of the metrics at {n:,} x {D} features",
        "",
        machine,
        "",
        "Largest growth of memory beside the features, which lie in a file (float32); each metric in a process of"
        " its own. The bound follows from the sizes of blocks and panels; n is no part of it.",
        f"Rows marked * visit all pairs and were asked {queries:,} queries: more take longer, not more memory.",
        "",
        "| metric | peak, MB | bound, MB |",
        "|---|---|---|",
    ]
    for peak in peaks:
        over = "" if peak.used <= peak.bound else " **above**"
        lines.append(f"| {peak.metric}{'*' * peak.pairs} | {peak.used / MB:.0f}{over} | {peak.bound / MB:.0f} |")
    return "\n".join(lines) + "\n"


def rows(peaks: list[Peak]) -> str:
    """Return the peaks as CSV."""
    lines = [f'"{peak.metric}",{peak.used},{peak.bound}' for peak in peaks]
    return "\n".join(["metric,peak_bytes,bound_bytes", *lines]) + "\n"


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
