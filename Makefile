# Needs Python 3.11+ (with venv), git, make and a package index for pip. `make` alone lists the targets.

PYTHON  ?= python3
SEEDS   ?= 200
CUTS    ?= 1000
SECONDS ?= 600
EXAMPLES ?= 500
N       ?= 100000
JOBS    ?= 0
ARGS    ?=
DIR     ?=

VENV := .venv
BIN  := $(VENV)/bin
BASE := $(VENV)/.stamp-base
PROD := $(VENV)/.stamp-production
DEV  := $(VENV)/.stamp-dev
CODE  = src tests $(wildcard bench examples)

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
.PHONY: help install install-production dev run demo prod-demo test test-programs check format fuzz-api fuzz-bodies stalled-readers sim power chaos localnet-faults docs bench bench-router bench-triggers bench-prod bench-streams lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(BASE) ## create .venv with what running needs

install-production: $(PROD) ## the same, and what PostgreSQL and Redis need

dev: $(DEV) ## create .venv with what developing needs

run: $(BASE) ## start the server (PORT=n; ARGS= for more options)
	@exec $(BIN)/fillwright serve $(ARGS)

demo: $(BASE) ## watch a few orders go through the whole engine (LIVE=localnet: real transactions, on a chain of its own)
	@exec $(BIN)/fillwright demo $(if $(LIVE),--live $(LIVE)) $(ARGS)

prod-demo: $(DEV) ## PostgreSQL, Redis, 2 API and 3 worker processes on this machine, and a few orders
	$(BIN)/python -m tests.servers $(ARGS)

test: $(DEV) ## run the tests (ARGS='-k name'; JOBS=auto for all cores)
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

test-programs: $(DEV) ## swaps executed by the programs' own binaries: DIR=folder of <program id>.so
	$(BIN)/python -m tests.programs $(DIR) $(ARGS)

check: $(DEV) ## formatting, lint, types, layers
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports --no-logo

format: $(DEV) ## format the code and mend what lint can mend
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

fuzz-api: $(DEV) ## requests made up from the document, at least 5,000: EXAMPLES=n an operation
	$(BIN)/python -m tests.api.fuzz $(EXAMPLES)

fuzz-bodies: $(DEV) ## hostile bodies and heads against a server: N=n, SEED=k
	$(BIN)/python -m tests.api.attack $(N) $(if $(SEED),--seed $(SEED)) $(ARGS)

stalled-readers: $(DEV) ## 50 WebSocket readers that stand still: what they cost the server and the others
	$(BIN)/python -m tests.api.stalled $(ARGS)

sim: $(DEV) ## simulate faults: SEEDS=n runs, or SEED=k to replay one
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

power: $(DEV) ## cut the power under SQLite: CUTS=n, or SEED=k to replay one disk
	$(BIN)/python -m tests.power --cuts $(CUTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos: $(DEV) ## real processes under fire: SECONDS=n, SEED=k (ARGS=--without-redis)
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

localnet-faults: $(DEV) ## the engine on a localnet that drops, lags, lies and forks, killed again and again: N=5000, SEED=k
	$(BIN)/python -m tests.solana $(if $(N),--orders $(N)) $(if $(SEED),--seed $(SEED)) $(ARGS)

docs: $(DEV) ## the documentation site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(DEV) ## measure the engine
	$(BIN)/python -m bench.engine $(ARGS)

bench-router: $(DEV) ## measure the router beside simpler ones
	$(BIN)/python -m bench.router $(ARGS)

bench-triggers: $(DEV) ## measure very many resting orders
	$(BIN)/python -m bench.triggers $(ARGS)

bench-prod: $(DEV) ## measure one API and one worker process on PostgreSQL and Redis
	$(BIN)/python -m bench.prod $(ARGS)

bench-streams: $(DEV) ## measure events to many WebSocket subscribers
	$(BIN)/python -m bench.streams $(ARGS)

lock: $(UV) ## regenerate the lock files (LOCK_ARGS=--upgrade for new versions)
	$(COMPILE) --group build --output-file requirements.lock pyproject.toml
	$(COMPILE) --group build --extra production --extra otel --constraints requirements.lock --output-file requirements-production.lock pyproject.toml
	$(COMPILE) --group build --extra production --extra otel --extra dev --constraints requirements-production.lock --output-file requirements-dev.lock pyproject.toml
	@! grep -nE '://|--(extra-)?index-url|--find-links|file:' requirements*.lock

clean: ## remove .venv, caches and builds; stored orders stay
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
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

$(PROD): requirements-production.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements-production.lock
	$(INSTALL) --no-build-isolation --editable .
	@touch $(BASE) $@

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-build-isolation --editable .
	@touch $(BASE) $(PROD) $@

$(UV): | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/uv-$(UV_VERSION)
	$(VENV)/uv-$(UV_VERSION)/bin/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
