# What can be run here: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/ready: requirements-dev.lock pyproject.toml .ci/python
	@.ci/python $(VENV)
	@touch $@

.PHONY: venv
venv: $(VENV)/ready ## Make the virtual environment

.PHONY: lint
lint: $(VENV)/ready ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy operator tests
	$(BIN)/lint-imports --no-logo

.PHONY: unit
unit: $(VENV)/ready ## Pure tests, in seconds
	$(BIN)/pytest tests/unit

.PHONY: postgres
postgres: $(VENV)/ready ## Tests on real PostgreSQL servers
	$(BIN)/pytest tests/postgres

.PHONY: cluster
cluster: $(VENV)/ready ## Tests on a real Kubernetes cluster of their own
	$(BIN)/pytest tests/cluster

.PHONY: test
test: lint ## Everything: lint, unit, postgres and cluster tests
	$(BIN)/pytest tests

.PHONY: bench
bench: $(VENV)/ready ## Benchmarks: prints a table, writes build/bench.jsonl
	$(BIN)/python -m tests.bench

.PHONY: crds
crds: $(VENV)/ready ## Generate crds/ from the models
	$(BIN)/servicedb crds --write crds

.PHONY: demo
demo: $(VENV)/ready ## A cluster of its own with the kyc-onboarding example, end to end
	@$(BIN)/python -m tests.cluster.demo up

.PHONY: demo-down
demo-down: $(VENV)/ready ## Remove all that `make demo` made
	@$(BIN)/python -m tests.cluster.demo down

.PHONY: clean
clean: ## Remove the virtual environment and build/ (clusters: `make demo-down` first)
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
