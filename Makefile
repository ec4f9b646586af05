# The commands of this project. `make run` and `make test` set up what they need in .venv by themselves.

# The first Python on this machine that is 3.11 to 3.13 and can make environments.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-is-installed
DEV := $(VENV)/.dev-is-installed
COMPILED := $(VENV)/.worker-is-compiled
CONFIG ?= config.yaml
DATA ?=

BENCH ?=

.PHONY: help run demo test unit long torture fuzz bench check format lint types house model install dev lock clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(COMPILED) ## Set up, then watch the inbox of config.yaml until Ctrl-C.
	@exec $(BIN)/python -m worker run --config $(CONFIG)

demo: $(COMPILED) ## Draw a few dozen scans, read them, show what came out.
	@$(BIN)/python -m worker.demo

test: unit $(COMPILED) ## Set up, then run the tests (some minutes).
	@$(BIN)/python -m pytest -m 'not long' tests/integration tests/acceptance

long: $(DEV) $(COMPILED) ## Run the tests that take minutes: floods, random kills, every faulty call.
	@$(BIN)/python -m pytest -m long -rs tests

torture: $(DEV) $(COMPILED) ## Kill the real worker 500 times under 20,000 files (half an hour or more).
	@$(BIN)/python -m benchmarks.torture

fuzz: $(DEV) ## Decode 20,000 damaged pictures and a set of bombs.
	@$(BIN)/python -m tests.integration.mutations

unit: $(DEV) ## Run the fast tests alone (no TensorFlow).
	@$(BIN)/python -m pytest tests/unit

bench: $(COMPILED) ## Measure speed beside other ways to do the work (BENCH=--short: three minutes).
	@$(BIN)/python -m benchmarks.speed $(BENCH)

check: lint types house test long ## Everything that CI runs.

lint: $(DEV)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

format: $(DEV) ## Put the code in its form.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: $(DEV)
	@$(BIN)/mypy

house: $(DEV) ## Hold the imports against the plan of the house.
	@$(BIN)/lint-imports --no-cache

model: $(RUNTIME) ## Rebuild models/digits from MNIST (DATA=mnist.npz, or Keras' own download).
	@$(BIN)/python -m worker train --preset digits $(if $(DATA),--data $(DATA)) --output models/digits
	@$(BIN)/python -m worker convert models/digits
	@$(BIN)/python -m worker train --preset transcriber $(if $(DATA),--data $(DATA)) --output models/digits

install: $(COMPILED) ## Set up what the worker needs.

dev: $(DEV) $(COMPILED) ## Set up what its developers need, too.

lock: ## Write the lock files anew from pyproject.toml (needs uv).
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -o requirements.lock
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url -c requirements.lock -o requirements-dev.lock

clean: ## Remove the environment and what tools left behind.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "No Python 3.11, 3.12 or 3.13 that can make environments was found."; \
		echo "On Debian or Ubuntu: apt install python3 python3-venv  (or: make PYTHON=/path/to/python3.12 ...)"; \
		exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (once; TensorFlow is large) ..."
	@$(PYTHON) -m venv $(VENV)

# The package itself is installed last, without its own dependencies: they come from the lock alone.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# A tenth of a second of every start where Python may not keep what it compiled: PYTHONDONTWRITEBYTECODE, a checkout that
# the service's user cannot write to.
$(COMPILED): $(shell find worker -name '*.py') | $(RUNTIME)
	@$(BIN)/python -m compileall -q worker
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
