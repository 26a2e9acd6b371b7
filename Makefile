# Two commands: `make demo` shows everything at work on the open data, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup setup-locked lock blender demo test test-slow test-versions parity lint format bench clean

help:
	@echo "make demo       set up, build the open data, compare all methods, train a network (minutes)"
	@echo "make test       set up, run the tests"
	@echo "make test-slow  the longer checks"
	@echo "make test-versions  the tests with the oldest and the newest supported Python and dependencies"
	@echo "make setup-locked   set up exactly what the tests ran with: requirements.lock, with hashes"
	@echo "make parity     the parity tests alone; GOLDEN=DIR for another folder of reference numbers"
	@echo "make lint       check style and types"
	@echo "make bench      measure speed"
	@echo "make blender    set up Blender's Python module in .venv-blender, to read FBX files (Python 3.11, 1 to 1.6 GB)"
	@echo "make setup      only set up the virtual environment $(VENV)"
	@echo "PYTHON=python3.12 make setup   choose the interpreter (3.11 or newer)"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; found $$($(PYTHON) --version). Say which: PYTHON=python3.11 make setup"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m model.optimizer.kernel
	@touch $@

setup-locked:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(VENV)/.ready

# Written anew when what the tests run with changes; needs uv (pip install uv).
lock:
	uv pip compile requirements-dev.txt --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
		--output-file requirements.lock

BLENDER_PYTHON ?= python3.11
blender: .venv-blender/.ready

.venv-blender/.ready: requirements-blender.txt
	@$(BLENDER_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "error: bpy needs Python 3.11. Say where: BLENDER_PYTHON=/path/python3.11 make blender; or install Blender"; exit 1; }
	$(BLENDER_PYTHON) -m venv .venv-blender
	.venv-blender/bin/python -m pip install --quiet --requirement requirements-blender.txt
	.venv-blender/bin/python -c 'import bpy; print("Blender", bpy.app.version_string)'
	@touch $@

demo: setup
	$(BIN)/python -m run.demo

# One process a core; each takes a module that no other has begun, the longest first (tests/conftest.py).
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder
test: setup
	$(BIN)/python -m pytest -m "not slow" $(SIDE_BY_SIDE)

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-versions:
	.ci/versions

GOLDEN ?= tests/golden
parity: setup
	$(BIN)/python -m pytest tests/parity --golden $(GOLDEN)

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m pyright --pythonpath $(BIN)/python

format: setup
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
