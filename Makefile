# Everything that a developer runs. `make dev` and `make test` need only Python >= 3.11, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES ?= 2
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help dev test test-fast mutate test-kubernetes check format bench lock clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(INSTALLED): requirements-dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gossipkv needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

dev: $(INSTALLED) ## Run a local cluster of three members until Ctrl-C (ARGS="--nodes 5 --http-port 9000")
	$(BIN)/gossipkv dev $(ARGS)

test: $(INSTALLED) ## Run all tests, except those on Kubernetes (ARGS="-k walk")
	$(BIN)/pytest -n $(TEST_PROCESSES) $(ARGS)

test-fast: $(INSTALLED) ## Run the tests of core, codec, rows, storage and the API (under 90 seconds)
	$(BIN)/pytest -n $(TEST_PROCESSES) tests/core tests/codec tests/api tests/storage tests/contracts $(ARGS)

mutate: $(INSTALLED) ## Plant faults into the core, and name those that no test and no seed notices (ARGS="--sample 20 --seed 7")
	$(BIN)/python -m tests.mutation $(ARGS)

test-kubernetes: $(INSTALLED) ## Test image, chart, alerts and a real cluster; KUBECONFIG and GOSSIPKV_TEST_IMAGE choose another (ARGS="-k rolling")
	$(BIN)/python -m tests.kubernetes.cluster tools
	$(BIN)/pytest tests/kubernetes $(ARGS)

check: $(INSTALLED) ## Check format, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Rewrite the sources in the format that `make check` wants
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure beside the yardsticks and write docs/benchmarks.md
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(INSTALLED) ## Resolve the dependencies again
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-emit-find-links --output-file requirements-dev.lock

clean: ## Remove everything that the other targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
