# What can be run here: `make help`. Nothing has to be installed first but make, bash and, unless root can run apt-get,
# Python 3.11 to 3.13.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
TEST_CLUSTER = $${SERVICEDB_TEST_CLUSTER:-test}

export PYTHONDONTWRITEBYTECODE := 1
# Of the caller's settings for pip and Python only those count that say where packages come from, and how.
KEPT := PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_CERT PIP_CLIENT_CERT PIP_PROXY PIP_CACHE_DIR \
    PIP_CONFIG_FILE PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_KEYRING_PROVIDER
unexport $(filter-out $(KEPT),$(filter PIP_%,$(.VARIABLES))) PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTEST_ADDOPTS

# $(call run,COMMAND,ADVICE): what to do when it fails is said below its own words. No commas in either.
run = @echo "$(1)"; $(1) || { printf '\n%s\n' "$(2)" >&2; exit 1; }

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

$(VENV)/ready: requirements-dev.lock pyproject.toml .ci/python
	@.ci/python $(VENV)
	@touch $@

.PHONY: venv
venv: $(VENV)/ready ## Make the virtual environment

.PHONY: lint
lint: $(VENV)/ready ## ruff, mypy --strict, import-linter
	$(call run,$(BIN)/ruff check .,Many of these can be corrected by: $(BIN)/ruff check --fix .)
	$(call run,$(BIN)/ruff format --check .,Format with: $(BIN)/ruff format .)
	$(BIN)/mypy operator tests
	$(call run,$(BIN)/lint-imports --no-logo,Which way imports go stands in pyproject.toml under tool.importlinter)

.PHONY: unit
unit: $(VENV)/ready ## Pure tests, in seconds
	$(BIN)/pytest tests/unit

.PHONY: store
store: $(VENV)/ready ## Tests on a real S3-compatible server, and on folders
	$(BIN)/pytest tests/store

.PHONY: postgres
postgres: $(VENV)/ready ## Tests on real PostgreSQL servers
	$(BIN)/pytest tests/postgres

# What takes minutes the first time is built here, where its progress is seen: pytest would swallow it.
.PHONY: test-cluster
test-cluster: $(VENV)/ready
	@$(BIN)/python -m tests.cluster.harness operator --name $(TEST_CLUSTER)
	@$(BIN)/python -m tests.cluster.harness postgres --name $(TEST_CLUSTER)
	@$(BIN)/python -m tests.cluster.harness store --name $(TEST_CLUSTER)
	@$(BIN)/python -m tests.cluster.harness helm --name $(TEST_CLUSTER) -- version --short

.PHONY: cluster
cluster: test-cluster ## Tests on a real Kubernetes cluster of their own
	$(call run,$(BIN)/pytest tests/cluster,The cluster is still there: $(BIN)/python -m tests.cluster.harness kubectl --name $(TEST_CLUSTER) -- get pods -A)

.PHONY: test
test: lint test-cluster ## Everything, from nothing: lint, unit, postgres and cluster tests
	$(call run,$(MAKE) --no-print-directory -j2 cluster-tests other-tests,One test again: $(BIN)/pytest FILE::TEST. The cluster is still there: $(BIN)/python -m tests.cluster.harness status --name $(TEST_CLUSTER))

# Side by side: most of the time each of them waits for a server. The front of a line says whose it is.
.PHONY: cluster-tests other-tests
cluster-tests: $(VENV)/ready
	@$(BIN)/pytest --durations=15 tests/cluster 2>&1 | sed -u 's/^/[cluster] /'
other-tests: $(VENV)/ready
	@$(BIN)/pytest --durations=15 tests/unit tests/store tests/postgres 2>&1 | sed -u 's/^/[others]  /'

.PHONY: soak
soak: test-cluster ## Ten minutes of random operations and kills on fifty objects; SERVICEDB_SOAK_SEED repeats one
	SERVICEDB_SOAK_SECONDS=$${SERVICEDB_SOAK_SECONDS:-600} SERVICEDB_SOAK_OBJECTS=$${SERVICEDB_SOAK_OBJECTS:-50} \
	    $(BIN)/pytest tests/cluster/test_soak.py -s

.PHONY: soak-faults
soak-faults: test-cluster ## The soak's checker against operators with a fault, one after the other
	SERVICEDB_SOAK_FAULTS=all $(BIN)/pytest tests/cluster/test_soak_faults.py

.PHONY: bench
bench: $(VENV)/ready ## Benchmarks: prints a table, writes build/bench.jsonl
	$(BIN)/python -m tests.bench

.PHONY: crds
crds: $(VENV)/ready ## Generate crds/, docs/reference/ and the chart's copies of both the CRDs and the manifests
	$(BIN)/servicedb crds --write crds
	$(BIN)/servicedb reference --write docs/reference
	cp crds/*.yaml helm/servicedb/files/crds/
	cp manifests/operator/{aggregated-roles,policy,rbac}.yaml manifests/rbac/all-namespaces.yaml helm/servicedb/files/
	cp manifests/components/confirm-delete/policy.yaml helm/servicedb/files/confirm-delete.yaml

.PHONY: demo
demo: $(VENV)/ready ## A cluster of its own with the kyc-onboarding example, end to end
	@$(BIN)/python -m tests.cluster.demo up

.PHONY: demo-down
demo-down: $(VENV)/ready ## Remove all that `make demo` made
	@$(BIN)/python -m tests.cluster.demo down

.PHONY: clean
clean: ## Remove the virtual environment, build/ and caches (clusters: `make demo-down` first)
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
