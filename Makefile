# Needs Python 3.11+ (with venv), git, make and a package index for pip. `make` alone lists the targets.

PYTHON ?= python3
SEEDS  ?= 200
JOBS   ?= 0
ARGS   ?=

VENV := .venv
BIN  := $(VENV)/bin
BASE := $(VENV)/.stamp-base
DEV  := $(VENV)/.stamp-dev
CODE  = src tests $(wildcard bench)

UV_VERSION := 0.13.9
UV         := $(VENV)/uv-$(UV_VERSION)/bin/uv
# Only the public index may shape the lock: ignore what this machine's configuration adds to it.
COMPILE     = env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
              $(UV) --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
              --no-header --no-emit-index-url --no-emit-find-links $(LOCK_ARGS)

PIP     = $(BIN)/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --no-deps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install dev run demo test check format sim bench bench-router lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BASE) ## create .venv with what running needs

dev: $(DEV) ## create .venv with what developing needs

run: $(BASE) ## start the server (PORT=n; ARGS= for more options)
	@exec $(BIN)/fillwright serve $(ARGS)

demo: $(BASE) ## watch a few orders go through the whole engine
	@exec $(BIN)/fillwright demo $(ARGS)

test: $(DEV) ## run the tests (ARGS='-k name'; JOBS=auto for all cores)
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: $(DEV) ## formatting, lint, types, layers
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports --no-logo

format: $(DEV) ## format the code and mend what lint can mend
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

sim: $(DEV) ## simulate faults: SEEDS=n runs, or SEED=k to replay one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

bench: $(DEV) ## measure the engine
	$(BIN)/python -m bench.engine $(ARGS)

bench-router: $(DEV) ## measure the router beside simpler ones
	$(BIN)/python -m bench.router $(ARGS)

lock: $(UV) ## regenerate both lock files (LOCK_ARGS=--upgrade for new versions)
	$(COMPILE) --group build --output-file requirements.lock pyproject.toml
	$(COMPILE) --group build --extra dev --constraints requirements.lock --output-file requirements-dev.lock pyproject.toml
	@! grep -nE '://|--(extra-)?index-url|--find-links|file:' requirements.lock requirements-dev.lock

clean: ## remove .venv, caches and builds; stored orders stay
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests $(wildcard bench) -type d -name __pycache__ -prune -exec rm -rf {} +

# Every file pip installs is named in a lock by version and hash. The package itself is built from the
# checkout by the locked build backend, so that step needs no network.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; choose one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(BASE): requirements.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-build-isolation --editable .
	@touch $(BASE) $@

$(UV): | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/uv-$(UV_VERSION)
	$(VENV)/uv-$(UV_VERSION)/bin/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
