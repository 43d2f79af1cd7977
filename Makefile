# Each target says what it does and, when it fails, what to do. `make setup` first; the others call it when needed.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export UV_SYSTEM_CERTS := 1

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.kassa-installed
SOURCES_OF_INSTALL := requirements-dev.lock pyproject.toml $(wildcard setup.py) $(shell find src -name '*.c' 2>/dev/null)
NODES ?= bitcoind litecoind anvil
ARGS ?=
WORKERS ?= 2
# A stolen package is mostly found within days: nothing younger is taken, unless somebody says so (COOLDOWN=0).
COOLDOWN ?= 7

.PHONY: help setup nodes demo sandbox test catalogue fuzz chaos screens check format bench mutants lock contracts sbom clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: $(INSTALLED) nodes  ## Install everything: Python packages, Kassa itself, the local nodes
	@echo "setup: ready. Try: make demo"

$(INSTALLED): $(SOURCES_OF_INSTALL)
	@.ci/install

nodes: $(INSTALLED)
	@echo "setup: local nodes ($(NODES))"
	@$(BIN)/python -m kassa.sandbox.nodes $(NODES)

demo: setup  ## Show one payment from invoice to webhook on a local chain (ARGS= for other options)
	@$(BIN)/kassa sandbox $(if $(ARGS),$(ARGS),--once)

sandbox: setup  ## Start it all and keep it running: pay, mine and watch by hand (Ctrl-C ends it)
	@exec $(BIN)/kassa sandbox $(ARGS)

test: setup  ## Run every test against real PostgreSQL and real nodes (ARGS="tests/rules -k name" for some)
	@echo "test: pytest with $(WORKERS) processes"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

catalogue: setup  ## Play the named faults in the catalogue's own sizes: some hours (ARGS="tests/faults -k d1" for some)
	@echo "catalogue: pytest with $(WORKERS) processes"
	@CATALOGUE=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m catalogue --durations=0 --durations-min=5 $(ARGS)

fuzz: setup  ## Throw random input at every parser, against second libraries (MINUTES=)
	@$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

chaos: setup  ## Break everything at once and see whether the books hold (SEED= MINUTES=)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),5)

screens: setup  ## Draw the pictures of docs/screens anew, by the real program in a real browser; then look at them (SCREENS=folder)
	@$(BIN)/python -m pytest -q -n 0 tests/browser/screens.py $(ARGS)

check: $(INSTALLED)  ## Check style, types, imports between parts, and the rules that the repository keeps about itself
	@echo "check: ruff, style and likely mistakes"
	@$(BIN)/ruff check . || { echo "check: many of these are mended by 'make format'"; exit 1; }
	@echo "check: ruff, layout"
	@$(BIN)/ruff format --check . || { echo "check: run 'make format'"; exit 1; }
	@echo "check: mypy --strict"
	@$(BIN)/mypy
	@MYPYPATH=src $(BIN)/mypy --explicit-package-bases --follow-imports=silent bench/*.py
	@echo "check: imports point down only"
	@$(BIN)/lint-imports
	@echo "check: the repository's own rules"
	@$(BIN)/python -m pytest -q tests/meta

format: $(INSTALLED)  ## Lay out the code and mend what can be mended without thought
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: setup  ## Run every benchmark beside its own limit (ARGS="name" for one)
	@$(BIN)/python -m bench $(ARGS)

mutants: $(INSTALLED)  ## Change the rules of money in a thousand ways and see whether the quick tests notice (some half an hour)
	@$(BIN)/mutmut run --max-children $(WORKERS) $(ARGS) && $(BIN)/mutmut results

lock: $(INSTALLED)  ## Resolve the dependencies anew (ARGS=--upgrade to raise versions, COOLDOWN=days); no registry host is written
	@before=$$($(BIN)/python -c "from datetime import *; print(f'{datetime.now(UTC) - timedelta($(COOLDOWN)):%Y-%m-%dT%H:%M:%SZ}')"); \
	for name in requirements requirements-dev; do \
		echo "lock: $$name.lock"; \
		[ $$name = requirements ] && group="" || group="--group dev -c requirements.lock"; \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-emit-find-links --exclude-newer $$before $(ARGS) $$group pyproject.toml -o $$name.lock; \
	done

contracts: $(INSTALLED)  ## Compile the Solidity contracts of sandbox and tests anew (needs node)
	@$(BIN)/python contracts/build.py

sbom: $(INSTALLED)  ## List what Kassa is made of (build/sbom.json), check licences and pins (ARGS="--bad FILE" for known-bad versions)
	@$(BIN)/python ops/sbom.py $(ARGS)

clean:  ## Remove the virtual environment and what builds and caches left (data and downloaded nodes stay)
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
