PYTHON ?= python3
BIN = .venv/bin

# What the demo trains and shows: a table that fits a screen.
MODELS ?= gan,wgan-gp,sngan,vae,real-train
SEEDS ?= 3
METRICS ?= fid@mlp-digits-v1,recall@mlp-digits-v1

COMMITS ?= HEAD^!

# Where `make gpu` puts what it finds, and the seconds after which it stops; the next call goes on.
OUT ?= runs/gpu
LIMIT ?= 540

# Of `make results`.
WORKERS ?= 1

.PHONY: demo results test test-all mutants lint bench bench-check bench-history bench-site gpu

demo: .venv/installed
	$(BIN)/ganbench run --suite digits --models $(MODELS) --seeds $(SEEDS) --metric $(METRICS)

results: .venv/installed
	nice $(BIN)/ganbench reproduce --workers $(WORKERS)

test: .venv/installed
	$(BIN)/python -m pytest -n 2 -q --dist worksteal

test-all: .venv/installed
	$(BIN)/python -m pytest -n 2 -q --dist worksteal -m ""

mutants: .venv/installed
	$(BIN)/python -m tests.mutate

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/installed
	$(BIN)/python tests/bench.py

bench-check: .venv/installed
	$(BIN)/asv check -E existing
	$(BIN)/python tests/bench.py check

bench-history: .venv/installed
	$(BIN)/asv run --machine $$($(BIN)/python tests/bench.py machine) --skip-existing-commits --show-stderr "$(COMMITS)"

bench-site: .venv/installed
	$(BIN)/asv publish

gpu: .venv/installed
	$(BIN)/python -m tests.gpu --out $(OUT) --limit $(LIMIT)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
