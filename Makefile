# OrderFlow: everything a person or a pipeline runs. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
UV := $(BIN)/uv
INSTALLED := .venv/installed
# The fast tests come first: a mistake shows in seconds. They run in two processes at once, and neither imports, rewrites
# and collects the other's half, as every worker of a single pytest would.
FAST_TESTS := tests/unit tests/contracts
# Where `make prove` tries many examples of each property, and `make unit` few.
PROPERTIES := $(addprefix tests/unit/, contexts contracts rollout saga)
# 2,300 simulated runs, in as many processes as there are cores.
MANY_RUNS := tests/simulation/test_many_runs.py
# How many seeds `make simulate` plays, beginning where those of the tests end.
RUNS := 10000
FIRST := 2300

ONE_HALF := $(addprefix tests/unit/, contracts providers runtime)
CLUSTER := PYTHONPATH=tests $(BIN)/python -m cluster
# Kept whatever the environment says: to compile and rewrite everything again takes a quarter of the tests' time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test test-cluster crd manifests check unit unit-half unit-other-half bench growth drills histories simulate prove lock clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(INSTALLED) ## Start the whole system on this machine; Ctrl-C stops it
	$(BIN)/orderflow up -f manifests/quickstart.yaml

test: $(INSTALLED) ## Run every check and every test, on real servers (installs PostgreSQL and Redis where root may)
	tests/install-servers.sh
	$(MAKE) check
	$(MAKE) unit
	$(BIN)/pytest -m "not long" tests $(FAST_TESTS:%=--ignore=%) --ignore=tests/cluster --ignore=tests/operator

test-cluster: $(INSTALLED) ## Run the tests on a Kubernetes cluster, which they build and start; with KUBECONFIG, on that one
	tests/install-servers.sh cluster
	$(CLUSTER) build
	$(BIN)/pytest tests/operator tests/cluster

crd: $(INSTALLED) ## Write the definition of OrderFlow from its types
	$(BIN)/python -m orderflow_operator.crd manifests/crd.yaml charts/orderflow/crd/orderflows.yaml

manifests: crd ## Give the chart the definition, and render manifests/operator.yaml, for those without Helm
	$(CLUSTER) operator >manifests/operator.yaml.new
	mv manifests/operator.yaml.new manifests/operator.yaml

check: $(INSTALLED) ## Check format, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks
	$(BIN)/lint-imports

unit: $(INSTALLED) ## Run the tests that need no server
	$(MAKE) --jobs=2 --keep-going $(filter --output-sync,$(.FEATURES:%=--%)) unit-half unit-other-half

# What failed last is one file for both: neither writes it.
unit-half: $(INSTALLED)
	$(BIN)/pytest --quiet -p no:cacheprovider $(ONE_HALF)

unit-other-half: $(INSTALLED)
	$(BIN)/pytest --quiet -p no:cacheprovider $(FAST_TESTS) $(ONE_HALF:%=--ignore=%)

bench: $(INSTALLED) ## Measure acceptance, completion and start-up, and record them in benchmarks/
	$(BIN)/python benchmarks/run.py

growth: $(INSTALLED) ## Measure what 50,000 stored orders do to cost and memory, and record it in benchmarks/ (11 minutes)
	$(BIN)/python benchmarks/growing.py

histories: $(INSTALLED) ## Record the decisions of stories that are not recorded yet (a change that is meant: make histories ARGS=--new-version)
	PYTHONPATH=tests $(BIN)/python -m harness.recording $(ARGS)

prove: $(INSTALLED) ## Run 2,300 simulated runs and 1,000 examples of each property (some minutes)
	$(BIN)/pytest --timeout 1200 --hypothesis-profile deep $(PROPERTIES)
	$(BIN)/pytest $(MANY_RUNS)

drills: $(INSTALLED) ## Break the whole system on purpose, in every way there is, and record it in docs/drills (half an hour, as root)
	tests/install-servers.sh
	DRILL_RECORDS=docs/drills $(BIN)/pytest tests/drills
	PYTHONPATH=tests $(BIN)/python -m harness.seen

simulate: $(INSTALLED) ## Search for schedules that break a promise, on all cores (make simulate RUNS=20000 FIRST=5000)
	$(BIN)/orderflow simulate --runs $(RUNS) --first $(FIRST) --jobs $$(nproc) --save broken-schedule.json

lock: $(INSTALLED) ## Resolve pyproject.toml into requirements.lock (newest versions: make lock ARGS=--upgrade)
	$(UV) pip compile pyproject.toml --output-file requirements.lock --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet $(ARGS)

clean: ## Remove the environment and every cache; the system's data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock holds the hash of all that is installed, its installer included.
$(INSTALLED): requirements.lock pyproject.toml
	@$(create_environment)
	@test -x $(UV) || { $(locked_uv) >.venv/uv.txt; $(BIN)/python -m pip install --quiet --no-deps --require-hashes -r .venv/uv.txt; }
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

locked_uv = sed -n '/^uv==/,/[^\\]$$/p' requirements.lock

define create_environment
if ! test -x $(BIN)/python; then \
	python=; \
	for candidate in $${PYTHON:-python3.11 python3.12 python3.13 python3}; do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	test -n "$$python" || { echo "OrderFlow needs Python 3.11 or newer. Install it, or say where it is: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot create environments. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }; \
	"$$python" -m venv .venv; \
fi
endef
