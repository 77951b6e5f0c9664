# What people type. Everything is installed by hash into .venv, which is made when it is absent and brought
# up to date when requirements.lock or pyproject.toml changed. PYTHON=... chooses the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check bench campaign docs lock

SEEDS ?= 10000
KILLS ?= 500
PAIRS ?= 50000
MONTHS ?= 1
WEEKS ?= 1
SIZE ?= full
CASH ?= 100
WORKERS ?= 4

BIN := .venv/bin
READY := .venv/.ready
PIP_HASHED := $(BIN)/pip --disable-pip-version-check install --quiet --no-deps --require-hashes
# pip is silent for a minute: TICK says every four seconds that a step still runs, DONE how long it took.
TICK := while sleep 4 >/dev/null 2>&1; do echo "  ... $$SECONDS s"; done & trap "kill $$!" EXIT;
DONE := echo "  done in $$SECONDS s"

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## start the demonstration company and the server (PORT=8080)
	$(BIN)/counterfoil demo $(if $(PORT),--port $(PORT))

# Hundreds of processes start in the tests. Without byte code each of them would compile the product again.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(READY) ## run the whole test suite (WORKERS=4)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --durations=20

check: $(READY) ## format, lint, types, floors and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup tests/unit

bench: $(READY) ## run the benchmarks (ONLY=name for one row)
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

campaign: $(READY) ## run the long campaigns (SEEDS=10000 KILLS=500 PAIRS=50000 MONTHS=1 WEEKS=1 SIZE=full CASH=100)
	$(BIN)/python -m tests.campaign --seeds $(SEEDS) --kills $(KILLS) --pairs $(PAIRS) --months $(MONTHS) \
	  --weeks $(WEEKS) --size $(SIZE) --cash $(CASH) --changes

docs: $(READY) ## check the documents: links, dependencies, settings, commands
	$(BIN)/pytest -n 0 tests/unit/docs

lock: $(READY) ## resolve pyproject.toml again into requirements.lock
	$(BIN)/uv --no-config pip compile pyproject.toml --universal --python-version 3.11 --extra demo --extra dev \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --quiet --output-file requirements.lock

# Two packages come as source only, so setuptools goes first, by hash as well, and nothing is built against
# a tool that the lock does not name.
$(READY): requirements.lock pyproject.toml
	@python=''; \
	for candidate in "$${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do \
	  if "$$candidate" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'No Python 3.11 or newer with venv and pip was found; name one: make PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	if ! [ -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  echo "Making .venv with $$("$$python" --version)"; $(TICK) "$$python" -m venv --clear .venv; $(DONE); \
	fi
	@echo "Installing setuptools by hash"; $(TICK) \
	$(PIP_HASHED) --only-binary :all: -r <(awk '/^setuptools==/,!/\\$$/' requirements.lock); $(DONE)
	@echo "Installing $$(grep -c '==' requirements.lock) packages by hash (about a minute the first time)"; $(TICK) \
	$(PIP_HASHED) --no-build-isolation -r requirements.lock; $(DONE)
	@echo "Installing Counterfoil"; $(TICK) \
	$(BIN)/pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .; $(DONE)
	@touch $(READY)
