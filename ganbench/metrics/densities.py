"""Exact divergences in one dimension: the law of a generator of one number, on a grid of its input.

Nothing is sampled. The mass of each cell of the input is spread evenly between the outputs at its two edges,
which is exact where the generator is piecewise linear.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ganbench.distributions.known import KnownDistribution
from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, once_per_run, register

CELLS = 400_000
PART = 100_000  # numbers that go through the generator at once
BINS = 200
GRID = 20_000
TAIL = 1e-12
FLAT = 1e-12
"a cell whose outputs differ by at most this share of the whole range is an atom"

MOST_CUTS = 20_000_000
"pairs of a cell and a bin that it reaches into; a continuous generator has a few for each edge"


def bin_masses(values: Tensor, masses: Tensor, edges: Tensor) -> tuple[Tensor, float]:
    """Return the probability of each bin, (b,) float64, and the probability that sits on single points.

    Args:
        values: (cells + 1,) float64, the generator at the edges of the cells of its input.
        masses: (cells,) float64, the probability of each cell.
        edges: (b + 1,) float64, rising; the outer ones may be infinite. A bin holds its lower edge.

    Raises:
        UserError: the generator is so far from continuous that nearly every cell covers many bins.
    """
    low, high = torch.minimum(values[:-1], values[1:]), torch.maximum(values[:-1], values[1:])
    width = high - low
    flat = width <= FLAT * (values.max() - values.min())
    high = torch.where(flat, low, high)
    # Bin -1 lies below the first edge and bin b above the last: their masses are dropped at the end.
    first = torch.searchsorted(edges, low, right=True) - 1
    last = torch.maximum(torch.searchsorted(edges, high, right=False) - 1, first)
    bins = torch.zeros(len(edges) + 1, dtype=torch.float64)
    one = first == last
    bins.index_add_(0, first[one] + 1, masses[one])
    # The few cells that reach over an edge are cut there: one row per cell and bin.
    cut = (~one).nonzero()[:, 0]
    count = last[cut] - first[cut] + 1
    if int(count.sum()) > MOST_CUTS:
        raise UserError("the generator jumps at nearly every input: its density cannot be read off a grid; use w1")
    cell = cut.repeat_interleave(count)
    start = (count.cumsum(0) - count).repeat_interleave(count)
    into = first[cell] + torch.arange(len(cell)) - start
    ends = torch.cat([edges.new_tensor([-math.inf]), edges, edges.new_tensor([math.inf])])
    length = torch.minimum(high[cell], ends[into + 2]) - torch.maximum(low[cell], ends[into + 1])
    bins.index_add_(0, into + 1, masses[cell] * length / width[cell])
    return bins[1:-1], float(masses[flat].sum())


def quantile_edges(law: KnownDistribution, bins: int = BINS) -> Tensor:
    """Return the edges of bins of equal probability under a law, (bins + 1,), the outer ones infinite."""
    inner = law.quantile(torch.arange(1, bins, dtype=torch.float64) / bins)
    return torch.cat([inner.new_tensor([-math.inf]), inner, inner.new_tensor([math.inf])])


def wasserstein1(values: Tensor, masses: Tensor, law: KnownDistribution) -> float:
    """Return the integral of |F_model - F_law|, by the trapezoid rule on a grid that resolves both laws.

    Args:
        values, masses: as in `bin_masses`.
        law: of one number.
    """
    logits = math.log(TAIL)
    levels = torch.sigmoid(torch.linspace(logits, -logits, GRID, dtype=torch.float64))
    levels = torch.cat([levels, torch.arange(1, GRID, dtype=torch.float64) / GRID])
    outputs = values.sort().values
    outputs = torch.cat([outputs[:: max(1, len(outputs) // GRID)], outputs[-1:]])
    # Just above each output as well: an atom there is a step.
    above = torch.nextafter(outputs, torch.full_like(outputs, math.inf))
    grid = torch.cat([law.quantile(levels), outputs, above]).unique()
    open_ended = torch.cat([grid.new_tensor([-math.inf]), grid])
    gap = bin_masses(values, masses, open_ended)[0].cumsum(0) - law.cdf(grid)
    left, right = gap[:-1].abs(), gap[1:].abs()
    total = left + right
    crossing = (left.square() + right.square()) / total.clamp(min=1e-300)
    mean = torch.where(gap[:-1] * gap[1:] < 0, crossing, total) / 2
    return float((mean * grid.diff()).sum())


def divergences(p: Tensor, q: Tensor) -> dict[str, float]:
    """Return "kl" = KL(p || q), "reverse-kl" = KL(q || p) and "js" in nats; infinite where they are.

    Args:
        p, q: (b,), probabilities of the same bins; p > 0.
    """
    middle = (p + q) / 2

    def kl(a: Tensor, b: Tensor) -> float:
        return float((torch.xlogy(a, a) - torch.xlogy(a, b)).sum())

    return {"kl": kl(p, q), "reverse-kl": kl(q, p), "js": (kl(p, middle) + kl(q, middle)) / 2}


@once_per_run
def push_forward(inputs: MetricInputs, cells: int) -> tuple[Tensor, Tensor]:
    """Return the distribution of a generator from one random number to one, on a fine grid of its input.

    Args:
        inputs: whose game is asked.
        cells: number of cells of the grid.

    Returns:
        The values (cells + 1,) at the edges of the cells, and the exact probability of each cell, (cells,), both
        float64 on the CPU.

    Raises:
        UserError: the game has other noise or other data, or makes NaN or infinity.
    """
    game = inputs.game
    laws = {name: law for name, law in game.noise().items() if not law.training_only}
    if game.data.shape != (1,) or [law.shape for law in laws.values()] != [(1,)]:
        raise UserError("the density needs a generator from one number to one; try --set MODEL.latent=1")
    [(name, law)] = laws.items()
    edges, masses = law.cells(cells)
    game.double()
    try:
        with torch.no_grad():
            values = torch.cat([game.sample({name: part[:, None]}) for part in edges.split(PART)])[:, 0]
    finally:
        game.float()
    if not values.isfinite().all():
        raise UserError("the model generates NaN or infinite numbers")
    return values.cpu(), masses.cpu()


def _measure(inputs: MetricInputs, extractor: str, kind: str) -> Score:
    law = inputs.distribution
    if law.dimensions != 1:
        raise UserError(f"exact divergences need data of 1 dimension, not {law.dimensions}; use mmd or w1")
    values, masses = push_forward(inputs, CELLS)
    q, atoms = bin_masses(values, masses, quantile_edges(law))
    protocol = f"law of the generator from {CELLS} cells of its input, even within a cell"
    detail = f"{100 * atoms:.3g} % of the generator's mass sits on single points" if atoms > 0 else ""
    if kind == "w1-exact":
        return Score(
            wasserstein1(values, masses, law), 0.0, CELLS, f"{protocol}; integral of |F - F|; float64", detail
        )
    value = divergences(torch.full_like(q, 1 / BINS), q)[kind]
    if math.isinf(value):
        empty = float((q == 0).double().mean())
        value, detail = math.nan, f"infinite: the generator never reaches {100 * empty:.3g} % of the true mass"
    error = math.nan if math.isnan(value) else 0.0
    return Score(value, error, CELLS, f"{protocol}; {BINS} bins of equal true probability; float64", detail)


for _name, _unit, _summary in (
    ("kl", "nats", "KL(truth || generator) of one number, no sampling, nats; 200 equally likely bins"),
    (
        "reverse-kl",
        "nats",
        "KL(generator || truth) of one number, no sampling, nats; 200 equally likely bins",
    ),
    ("js", "nats", "Jensen-Shannon divergence of one number, no sampling, nats; 200 equally likely bins"),
    ("w1-exact", "", "Wasserstein-1 distance of one number to the truth, no sampling; integral of |F - F|"),
):
    register(
        Metric(
            name=_name,
            version=1,
            summary=_summary,
            ability="sample",
            better="lower",
            unit=_unit,
            compute=partial(_measure, kind=_name),
        )
    )
