PYTHON ?= python3
BIN = .venv/bin

COMMITS ?= HEAD^!

.PHONY: demo test lint bench bench-check bench-history bench-site

demo: .venv/installed
	$(BIN)/ganbench run --suite digits

test: .venv/installed
	$(BIN)/python -m pytest -n 2 -q

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python tests/bench.py

bench-check: .venv/installed
	$(BIN)/asv check -E existing
	$(BIN)/asv run --quick --dry-run -E existing --bench '^((?!torch:cuda).)*$$' --machine $$($(BIN)/python tests/bench.py machine) --show-stderr

bench-history: .venv/installed
	$(BIN)/asv run --machine $$($(BIN)/python tests/bench.py machine) --skip-existing-commits --show-stderr "$(COMMITS)"

bench-site: .venv/installed
	$(BIN)/asv publish

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
