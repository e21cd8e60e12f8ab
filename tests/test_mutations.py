"""Mutations fit the code that they break."""

import pytest

from tests.mutate import ROOT, Mutation, mutations


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: f"{mutation.file}: {mutation.breaks}")
def test_a_mutation_changes_one_place_of_code_that_compiles(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    compile(mutation.apply(text), mutation.file, "exec")
    assert mutation.new != mutation.old
    for argument in mutation.tests:
        path, _, name = argument.partition("::")
        assert not path.startswith("tests/") or f"def {name}" in (ROOT / path).read_text(encoding="utf-8")
