# What people do here, one target each; `make` alone lists them.
# Every path below is relative, so a checkout may lie under a path with spaces.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ringspec-setup
PIP := $(BIN)/python -m pip --disable-pip-version-check
UV_VERSION := 0.13.9
# Long tests may take this long; see `timeout` in pyproject.toml.
PATIENT := --timeout 1800 -o faulthandler_timeout=2400
# The line that `make help` shows for a target is also what the target says before it acts.
SAY = @sed -n 's/^$@:.*\#\# /$@: /p' Makefile

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint deep nightly bench lock clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## install ringspec and its locked dependencies into .venv (offline once they are cached)

demo: setup ## the main job, end to end on this machine: real processes, sockets and disk, then checks and proofs
	$(SAY)
	@$(BIN)/ringspec demo

# Three workers for two cores: tests of real nodes wait much, for processes and for timers.
test: lint ## lint, types and every test but the long ones
	$(SAY)
	@$(BIN)/python -m pytest -n 3 --dist worksteal

lint: setup ## style (ruff) and types (mypy, strict)
	$(SAY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo 'lint: run `$(BIN)/ruff format .`' >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

deep: setup ## the long explorations, which CI runs only in bounded form
	$(SAY)
	@$(BIN)/python -m pytest -n 2 -m deep $(PATIENT)

nightly: setup ## the tests again with more and fresh examples, which CI repeats the same
	$(SAY)
	@$(BIN)/python -m pytest -n 2 --hypothesis-profile nightly $(PATIENT)

bench: setup ## measurements; they report and never fail on time
	$(SAY)
	@$(BIN)/python -m pytest -m bench -s $(PATIENT)

# Versions in the lock stay while they fit pyproject.toml; remove the file first to take newer ones.
# The resolver lives in a throw-away environment: nothing of ringspec depends on it.
lock: ## write requirements.lock, with hashes, for every extra and every Python from 3.11 (needs the network)
	$(SAY)
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && $(PYTHON) -m venv "$$tool" && \
	"$$tool/bin/python" -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION) && \
	"$$tool/bin/uv" pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
	    --no-emit-index-url --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

clean: ## remove .venv and the tools' caches; downloaded wheels and runs of nodes stay
	$(SAY)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Scripts in .venv hold absolute paths, so the stamp holds the place: a moved checkout starts afresh.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif

# Wheels come from a cache of ours, and the network is asked only when that lacks one: pip's own cache is
# no help offline, because pip asks the index first. Only wheels: nobody else's build script runs here.
$(STAMP): pyproject.toml requirements.lock
	@echo "setup: installing ringspec and its locked dependencies into .venv"
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("setup: ringspec needs Python 3.11 or newer and $(PYTHON) is %d.%d; name another one: make setup PYTHON=python3.11" % sys.version_info[:2])'
	@if [ -f $(STAMP) ] && [ "$$(cat $(STAMP))" != "$$(pwd -P)" ]; then rm -rf .venv; fi
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@wheels="$${XDG_CACHE_HOME:-$$HOME/.cache}/ringspec/wheels"; \
	mkdir -p "$$wheels" || exit 1; \
	from_cache() { $(PIP) install --quiet --no-index --find-links "$$wheels" --require-hashes -r requirements.lock; }; \
	from_cache 2>/dev/null || { \
	    echo "setup: downloading wheels into $$wheels"; \
	    $(PIP) download --quiet --only-binary :all: --require-hashes -r requirements.lock -d "$$wheels" && from_cache; \
	} || { echo "setup: the dependencies are not all in $$wheels and could not be downloaded" >&2; exit 1; }
	@$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	@pwd -P > $(STAMP)

FORCE:
