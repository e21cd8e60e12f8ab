"""From run folders to score rows: samples, features and metrics of finished runs, without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ganbench import registry
from ganbench.errors import UserError
from ganbench.evaluation.grid import draw_grid
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.provenance import provenance
from ganbench.evaluation.real import RealData
from ganbench.metrics import Metric
from ganbench.precision import float32_arithmetic
from ganbench.runs.folder import Status, restore
from ganbench.runs.scores import ScoreRow, merge_rows, read_rows, rows_by_metric
from ganbench.suites.spec import RunSpec


def wanted(folder: Path, metrics: Sequence[str]) -> list[str]:
    """Return those metrics of which the run folder has no row of the present version, or a failed one."""
    try:
        rows = {row.metric: row for row in read_rows(folder / "scores.csv")}
    except (OSError, ValueError):
        return list(metrics)
    stale = []
    for name in metrics:
        prefix = f"{name} v{find(name)[0].version}"
        row = rows.get(name)
        if row is None or row.status == "failed" or row.protocol.partition(";")[0] != prefix:
            stale.append(name)
    return stale


def find(name: str) -> tuple[Metric, str]:
    """Return (metric, extractor) of "metric" or "metric@extractor"; UserError if one is unknown or missing."""
    base, _, extractor = name.partition("@")
    metric: Metric = registry.metrics.get(base)
    if metric.needs_extractor == "no" and extractor:
        raise UserError(f"metric {base} takes no extractor, got '{name}'")
    if metric.needs_extractor != "no":
        if not extractor:
            raise UserError(f"metric {base} needs an extractor, for example {base}@lenet-mnist-v1")
        registry.extractors.get(extractor)
    return metric, extractor


@float32_arithmetic()
def measure(spec: RunSpec, folder: Path, real: RealData, metrics: Sequence[str]) -> list[ScoreRow]:
    """Measure a finished run, merge the rows into its scores.csv, and draw its sample grid.

    Args:
        spec: of the run.
        folder: its folder.
        reference: the real data, on the measuring device.
        metrics: names as in a suite; only these are measured again.

    Returns:
        All rows of the run.
    """
    status = Status.read(folder)
    if status is None:
        raise UserError(f"run '{folder}' has not finished; continue it with ganbench run")
    rows_by_metric(folder / "scores.csv")  # a damaged file is an error before the work, not after it
    inputs = RunInputs(restore(spec, real.data, folder), spec, real)
    rows = [_score(name, inputs, status) for name in metrics]
    if status.state != "diverged":
        with suppress(Exception):  # the rows say why there is no picture
            draw_grid(inputs.fake(100), folder / "samples.png")
    if Status.read(folder) != status:
        raise UserError(f"run '{folder}' was trained anew meanwhile; measure it again")
    # A metric measured again keeps its place: the first one ranks the leaderboard.
    return merge_rows(folder / "scores.csv", rows)


def _score(name: str, inputs: RunInputs, status: Status) -> ScoreRow:
    """Return the row of one metric; what cannot be measured is a row with NaN and the reason."""
    metric, extractor = find(name)
    spec, game = inputs.spec, inputs.game
    value = std_error = math.nan
    n, protocol, detail, reason = 0, "", "", ""
    if status.state == "diverged":
        state, reason = "diverged", status.reason
    elif not callable(getattr(game, metric.ability, None)):
        state, reason = "unavailable", f"the game has no {metric.ability}"
    else:
        try:
            score = metric.compute(inputs, extractor)
            state, n, protocol, detail = "measured", score.n, score.protocol, score.detail
            value, std_error = score.value, score.std_error
            if math.isnan(value):
                state, reason = "failed", detail or "the metric returned NaN"
        except UserError as error:
            state, reason = "failed", str(error)
        except Exception as error:  # one broken metric or game must not cost the others their numbers
            state, reason = "failed", f"{type(error).__name__}: {error}"
    return ScoreRow(
        suite=spec.suite,
        version=spec.version,
        budget=spec.budget,
        dataset=inputs.real_data.data.name,
        model=spec.model,
        role=game.role,
        supervision=game.supervision,
        config_hash=spec.config_hash,
        code_hash=status.code,
        seed=spec.seed,
        metric=name,
        better=metric.better,
        value=value,
        std_error=std_error,
        n=n,
        protocol="; ".join(part for part in (f"{name} v{metric.version}", _weights_rule(spec), protocol) if part),
        detail=detail,
        status=state,
        reason=reason,
        seconds=status.seconds,
        steps=spec.steps(status.round),
        provenance=provenance(f"{status.device} {status.engine}".strip(), status.torch),
    )


def _weights_rule(spec: RunSpec) -> str:
    averaged = f"weights averaged with decay {spec.ema}, moments of batch norms taken anew"
    rule = averaged if spec.ema else "weights of the last round"
    return rule if spec.precision == "float32" else f"{rule}, trained in {spec.precision}"
