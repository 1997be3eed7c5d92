# `make demo` and `make test` do everything from nothing; the environment comes from the lock files, pip and venv alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env demo test test-peers lint format lock clean

env: $(VENV)/.installed

demo: env
	$(BIN)/bantam run digits

test: $(VENV)/.tested-with lint
	$(BIN)/pytest

test-peers: $(VENV)/.tested-with
	$(BIN)/pytest -m peers

lint: $(VENV)/.tested-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.tested-with
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.tested-with: requirements-test.lock $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-test.lock
	touch $@

# New pins, from a throw-away environment: torch first, so that nothing pulls another build of it.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet torch==2.13.0
	build/lock/bin/pip install --quiet .
	build/lock/bin/pip freeze --exclude bantamweight | sed 's/^torch==.*/torch==2.13.0/' > requirements.lock
	build/lock/bin/pip install --quiet '.[test]'
	build/lock/bin/pip freeze --exclude bantamweight | sed 's/^torch==.*/torch==2.13.0/' > requirements-test.lock
	rm -rf build/lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
