# `make` alone lists the targets. Every target builds what it needs first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
# More arguments for pytest: make test PYTEST_ARGS='-k ledger -x'
PYTEST_ARGS ?=
# More arguments for the resolver: make lock LOCK_ARGS='--upgrade-package pydicom'
LOCK_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# Airflow starts `airflow` and tests start their tools by name.
WITH_PATH := PATH="$(abspath $(BIN)):$$PATH"
# Variables of the command line (make demo KEEP=1) and of the environment reach the programs as
# they are; `export` would add the ones nobody set, empty.

# Cheapest first, so that a mistake shows early; then every other folder of tests.
FIRST := tests/unit tests/tooling tests/include tests/dags
LAST := $(filter-out $(FIRST) tests/benchmarks tests/__pycache__,$(patsubst %/,%,$(sort $(wildcard tests/*/))))
YAML := .yamllint.yaml .hadolint.yaml .pre-commit-config.yaml $(wildcard *.yaml include)
TYPED := plugins include
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

.PHONY: help venv demo demo-stop test test-unit test-system fuzz peers lint format \
	lint-python lint-types lint-imports lint-docker lint-yaml lock dockerfile-rehearsal clean

help: ## list the targets
	@echo "make TARGET [PYTHON=python3] [VENV=.venv]"
	@sed -nE 's/^([a-z%-]+):[^#]*## (.*)/\1\t\2/p' Makefile | \
		while IFS=$$'\t' read -r target text; do printf '  %-22s %s\n' "$$target" "$$text"; done

venv: $(STAMP) ## the environment in VENV, exactly as locked, with the project installed editable

$(STAMP): requirements.txt requirements-dev.txt pyproject.toml .ci/venv
	@python=$$(.ci/python "$(PYTHON)") && .ci/venv "$(VENV)" "$$python"
	@touch $@

demo: $(STAMP) ## run the demonstration (KEEP=1, ARCHIVE_DIR=folder, PACS=orthanc: see the README)
	$(WITH_PATH) $(BIN)/python -m include.demo

demo-stop: $(STAMP) ## stop a demonstration that was kept running
	$(WITH_PATH) $(BIN)/python -m include.demo stop

test: $(STAMP) peers ## every test; those whose peer is missing are skipped, and say so
	$(WITH_PATH) $(BIN)/pytest $(wildcard $(FIRST)) $(LAST) $(PYTEST_ARGS)

test-unit: $(STAMP) ## the tests that need nothing but Python
	$(WITH_PATH) $(BIN)/pytest $(wildcard $(FIRST)) -m "not system and not peers" $(PYTEST_ARGS)

test-system: $(STAMP) peers ## the tests that drive the whole: Airflow, a browser, the image
	$(WITH_PATH) $(BIN)/pytest $(wildcard tests/system) tests/tooling -m system $(PYTEST_ARGS)

fuzz: $(STAMP) ## damaged headers through reading and correcting; FUZZ_EXAMPLES=20000 of each kind
	$(WITH_PATH) $(BIN)/pytest tests/fuzz --hypothesis-profile=fuzz --timeout=0 $(PYTEST_ARGS)

peers: ## install the Debian packages that tests talk to (as root); REQUIRE_PEERS=1: or fail
	@.ci/peers

bench-%: $(STAMP) ## run one benchmark against its peer: make bench-parse; results in .bench/
	$(WITH_PATH) $(BIN)/python -m tests.benchmarks.bench_$(subst -,_,$*) $(ARGS)

lint: lint-python lint-types lint-imports lint-docker lint-yaml ## every check that runs no code of ours

lint-python: $(STAMP)
	$(BIN)/ruff format --check --output-format=concise .
	$(BIN)/ruff check .

lint-types: $(STAMP)
	$(BIN)/mypy $(TYPED)

lint-imports: $(STAMP)
	@$(BIN)/lint-imports --no-logo

lint-docker: $(STAMP)
	$(BIN)/hadolint Dockerfile

lint-yaml: $(STAMP)
	$(BIN)/yamllint --strict $(YAML)

format: $(STAMP) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only --exit-zero .
	$(BIN)/ruff format .

lock: $(STAMP) ## resolve requirements*.in again; LOCK_ARGS=--upgrade takes the newest versions
	$(COMPILE) $(LOCK_ARGS) requirements.in -o requirements.txt
	$(COMPILE) $(LOCK_ARGS) requirements-dev.in -o requirements-dev.txt

dockerfile-rehearsal: $(STAMP) ## run the Dockerfile's steps in a fresh environment, no engine needed
	$(WITH_PATH) $(BIN)/python .ci/rehearse_dockerfile.py

clean: ## remove the environment and everything that a run leaves
	rm -rf "$(VENV)" .demo .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
		.hypothesis build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
