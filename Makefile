# Two commands: `make demo` shows everything at work on the open data, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test test-slow parity lint format bench clean

help:
	@echo "make demo       set up, build the open data, train ASRN and DM, compare them (about 10 minutes)"
	@echo "make test       set up, run the tests"
	@echo "make test-slow  the longer checks"
	@echo "make parity     the parity tests alone; GOLDEN=DIR for another folder of reference numbers"
	@echo "make lint       check style"
	@echo "make bench      measure speed"
	@echo "make setup      only set up the virtual environment $(VENV)"
	@echo "PYTHON=python3.12 make setup   choose the interpreter (3.10 or newer)"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: Python 3.10 or newer is needed; found $$($(PYTHON) --version). Say which: PYTHON=python3.11 make setup"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@

demo: setup
	$(BIN)/python -m run.demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

GOLDEN ?= tests/golden
parity: setup
	$(BIN)/python -m pytest tests/parity --golden $(GOLDEN)

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: setup
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
