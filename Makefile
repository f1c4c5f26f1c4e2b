# Everything here sets itself up: a fresh machine needs Python 3.11, make and gcc.
SHELL := /bin/bash
.DEFAULT_GOAL := check

PYTHON ?= python3.11
UV_VERSION := 0.13.9
UV := .tools/bin/uv
export UV_PYTHON := $(PYTHON)
export UV_PYTHON_DOWNLOADS := never
# Tests start Python some hundred times: what it loads is compiled once.
unexport PYTHONDONTWRITEBYTECODE
RUN := $(UV) run --locked --no-sync

.PHONY: help setup cometbft browser wires arm demo demo-once test check fmt lint types layers unit tidy vectors sim e2e fuzz bench clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(UV):
	@echo "Setting up the build tool (once)"
	@$(PYTHON) -m venv .tools || { echo "setup: $(PYTHON) with the venv module is needed (Debian: apt-get install python3.11-venv)"; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: $(UV) pyproject.toml uv.lock $(wildcard native/*)
	@$(UV) sync --locked --quiet
	@touch $@

setup: .venv/.ready  ## Install everything into .venv (idempotent); leaves .venv/bin/accord

cometbft: setup  ## Build the pinned consensus engine into a cache, once
	@scripts/cometbft.sh >/dev/null

browser: setup  ## Find or install a Chromium for the browser tests
	@scripts/browser.sh

wires:  ## Find or install `ip` for the test of partitions
	@scripts/wires.sh

arm:  ## Find or install what the tests for aarch64 run in
	@scripts/arm.sh

demo: setup  ## The whole story in a browser, on benign photographs
	@.venv/bin/accord demo

demo-once: setup  ## The whole story without a browser, as one JSON report
	@.venv/bin/accord demo --once --json

fmt: setup  ## Format the code
	@$(RUN) ruff format src tests examples
	@$(RUN) ruff check --fix src tests examples

lint: setup
	@$(RUN) ruff format --check src tests examples
	@$(RUN) ruff check src tests examples

types: setup
	@$(RUN) mypy
	@$(RUN) pyright

layers: setup
	@$(RUN) lint-imports --no-cache

unit: setup
	@$(RUN) pytest -n auto -p no:schemathesis -m "not slow" tests/unit tests/tidy

check: setup  ## The fast part: format, lint, types, layers, unit and tidy tests, side by side
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint types layers unit

test: check browser cometbft wires arm  ## Everything, from a clean clone
	@$(RUN) pytest -n auto -p no:schemathesis -m slow tests/unit
	@$(RUN) pytest -n auto tests/property tests/vectors tests/sim
	@$(RUN) pytest tests/e2e

sim: setup  ## Simulations by seed: make sim SEED=81, or many: make sim FIRST=1000 SEEDS=5000
	@$(RUN) pytest tests/sim $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first-seed $(FIRST))

e2e: browser
	@$(RUN) pytest tests/e2e

vectors: setup  ## Regenerate vectors/ and show what changed
	@$(RUN) python tests/vectors/generate.py
	@git diff --stat -- vectors

fuzz: setup  ## Hostile pictures through locked decoders: make fuzz FUZZ_MINUTES=60 SEED=7
	@PYTHONPATH=tests .venv/bin/python tests/fuzz_media.py --minutes $(or $(FUZZ_MINUTES),10) $(if $(SEED),--seed $(SEED),)

bench: setup
	@.venv/bin/accord bench loop

clean:
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis
