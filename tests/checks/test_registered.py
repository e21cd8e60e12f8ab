"""The contract of every registered metric and dataset; that of models stands in tests/game/test_contract.py."""

from __future__ import annotations

import pytest

from ganbench import registry
from ganbench.checks import check_dataset, check_metric


@pytest.mark.parametrize("name", registry.metrics.names())
def test_a_metric_keeps_the_contract(name: str) -> None:
    results = list(check_metric(registry.metrics.get(name)))
    assert [result for result in results if result.fault] == [] and len(results) == 5


@pytest.mark.parametrize("name", registry.datasets.names())
def test_a_dataset_keeps_the_contract(name: str) -> None:
    results = list(check_dataset(registry.datasets.get(name)))
    if results[0].fault.startswith("UserError"):  # absent files have a line of their own
        pytest.skip(results[0].fault)
    assert [result for result in results if result.fault] == [] and len(results) == 6
