"""The queue of experiments, worked off: what no committed row shows is trained, measured and published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganbench.errors import UserError
from ganbench.execution.jobs import choose_device
from ganbench.execution.suite import run
from ganbench.reporting.experiments import Coverage, Experiment, write_states
from ganbench.reporting.publish import publish_rows
from ganbench.suites.suite import read_suite


def reproduce(
    experiments: Sequence[Experiment],
    results: Path,
    out: Path,
    tell: Callable[[str], None],
    device: str = "auto",
    **options: Any,
) -> list[str]:
    """Do what is missing of each experiment, in order, and publish each dataset of it as soon as it ends.

    Args:
        experiments: in order.
        results: folder of committed results; what its rows show is not trained again.
        out: folder of all runs; what is finished there is not trained again either.
        tell: called with a line before each piece of work.
        device: auto, cpu, cuda or mps; what needs a GPU is skipped without CUDA.
        options: further ones of `ganbench.execution.suite.run`.

    Returns:
        A line for each piece that failed, which costs no other piece anything.

    Raises:
        UserError: an experiment names what is unknown, before any work.
    """
    errors = []
    cuda = choose_device(device) == "cuda"
    for experiment, lacking in [(one, Coverage(one, results).lacking()) for one in experiments]:
        if experiment.device == "gpu" and not cuda:
            tell(f"{experiment.name}: skipped, needs a GPU")
            continue
        place = "cpu" if experiment.device == "cpu" else device
        for dataset, models in lacking.items():
            name = f"{experiment.name} on {dataset}"
            tell(f"{name}: {len(models)} models to train or to publish")
            try:
                _do(experiment, dataset, models, results, out, device=place, **options)
            except Exception as error:
                kind = "" if isinstance(error, UserError | OSError) else f"{type(error).__name__}: "
                errors.append(f"{name}: {kind}{error}")
    write_states(results)
    return errors


def _do(
    experiment: Experiment, dataset: str, models: Sequence[str], results: Path, out: Path, **options: Any
) -> None:
    """Train and measure some models, and publish what has ended even if one of them failed."""
    suite, budget = experiment.suite, experiment.budget
    try:
        run(suite, budget=budget, datasets=[dataset], models=models, seeds=experiment.seeds, out=out, **options)
    except UserError:
        with suppress(UserError):  # the first error tells more
            publish_rows(read_suite(suite), budget, out, results)
        raise
    publish_rows(read_suite(suite), budget, out, results)
    write_states(results)
