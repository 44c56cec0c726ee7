# make run   set up everything that is missing, then take the digits model through the whole pipeline to an emulated Cortex-M4
# make test  the same set-up with the test extras, then the whole suite
PYTHON ?= python3
TARGET ?= cortex-m4
TARGETS ?= $(TARGET)
OPTIMIZE ?= speed
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test run test check format slow bench counts mutants clean

help:
	@sed -n 's/^# \(make .*\)/  \1/p' Makefile
	@echo '  make setup, make check (ruff, mypy --strict, tests with coverage), make bench, make slow (the long tests), make mutants, make clean'
	@echo '  make counts (tests/counts/counts.toml anew: instructions and code bytes of networks and kernels)'

# One stamp a set of dependencies: installed again only when the pins or the requirements change.
$(VENV)/.run-installed: pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON=$(PYTHON) sh scripts/setup.sh python $(VENV) .
	@touch $@

$(VENV)/.test-installed: $(VENV)/.run-installed
	@PYTHON=$(PYTHON) sh scripts/setup.sh python $(VENV) '.[test,dev,keras]'
	@touch $@

setup: $(VENV)/.run-installed
	@sh scripts/setup.sh system

setup-test: $(VENV)/.test-installed
	@sh scripts/setup.sh system test

run: setup
	$(BIN)/pipeline run --target $(TARGET)

test: setup-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(COVERAGE)

check: setup-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test COVERAGE="--cov=pipeline --cov-report=term:skip-covered --cov-fail-under=85"

format: $(VENV)/.test-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# MODELS="a.tflite b.tflite", TARGETS=all, OPTIMIZE="speed size balanced", LAYERS=1, PAGE=docs/benchmarks.md
bench: setup
	$(BIN)/python scripts/bench.py $(MODELS) --targets $(TARGETS) --optimize $(OPTIMIZE) $(if $(LAYERS),--layers) $(if $(PAGE),--page $(PAGE))

# After a change of speed or size on purpose, or with another compiler.
counts: setup-test
	$(BIN)/python tests/counts/record_counts.py

slow: setup-test
	$(BIN)/python -m pytest -m slow

mutants: setup-test
	$(BIN)/python scripts/mutate.py $(MUTANTS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
