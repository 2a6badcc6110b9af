# `make` lists the targets. The Python environment is made in .venv/ by the first target that needs it, with pip alone,
# from requirements/dev.lock, and made anew when that file changes.
#   PYTHON=python3.13   the interpreter for .venv/ (`make clean` first, to change it)
#   ARGS="-k redact"    more arguments for the program behind a target
#   WORKERS=4           how many tests run at once, 2 by default

PYTHON ?= python3
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# The tests start thousands of processes: none is to compile what another one has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check quick-tests test lint cluster cluster-down images bench fuzz soak warm-claims lock audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# `exec`, here and below: the program takes the shell's place, so make's SIGTERM reaches it and make waits for its end.
run: $(VENV)/installed ## serve in the foreground, with every K8S_MCP_* setting of the environment
	@exec $(BIN)/k8s-mcp serve $(ARGS)

check: $(VENV)/installed ## the short loop, three minutes: lint, and the tests that need no cluster and take a moment
	@exec $(MAKE) --no-print-directory --jobs=2 --output-sync=target lint quick-tests

quick-tests: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --short --quiet --durations=15 $(ARGS)

test: $(VENV)/installed ## run all tests; those on a real cluster start one where the machine can
	@exec $(BIN)/python -m pytest --numprocesses $(WORKERS) $(ARGS)

DOCUMENTS = $(wildcard *.md docs/*.md charts/*/README.md gate/README.md tests/*/README.md)

lint: $(VENV)/installed ## check style, formatting, types, layers and the documents' words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/proselint check $(DOCUMENTS)
	gate/lint.sh

cluster: ## start the test cluster, or find it running; the last line is its `export KUBECONFIG=…`
	@exec $(PYTHON) -m tests.testcluster up $(ARGS)

cluster-down: ## remove every trace of the test cluster
	@exec $(PYTHON) -m tests.testcluster down $(ARGS)

images: ## build the images and load them into the test cluster
	@exec images/build $(ARGS)

bench: $(VENV)/installed ## measure overhead, latency, throughput and memory
	@exec $(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/fuzzer ## fuzz every target for ten minutes; ARGS="kubeconfig --minutes 60" for another one
	@exec $(BIN)/python -m tests.fuzz $(or $(ARGS),all --minutes 10)

soak: $(VENV)/installed ## replicas under random faults, ten minutes; ARGS="--minutes 60 --replicas 3 --seed N"
	@exec $(BIN)/python -m tests.soak $(ARGS)

warm-claims: $(VENV)/installed ## a hundred claims of ten warm pods at once, without faults and with them
	@K8S_MCP_TEST_MANY_CLAIMS=1 exec $(BIN)/python -m pytest -s --numprocesses 0 tests/e2e/test_warm_many.py $(ARGS)

lock: $(VENV)/installed ## write requirements/*.lock anew from pyproject.toml; ARGS=--upgrade takes the newest versions
	$(COMPILE) pyproject.toml --extra otel --extra postgresql --output-file requirements/runtime.lock $(ARGS)
	$(COMPILE) pyproject.toml --extra otel --extra postgresql --group dev --constraints requirements/runtime.lock --output-file requirements/dev.lock $(ARGS)
	$(COMPILE) --group audit --output-file requirements/audit.lock $(ARGS)
	$(COMPILE) --group fuzz --output-file requirements/fuzz.lock $(ARGS)

audit: $(VENV)/installed ## ask whether anything in the locks has a known vulnerability
	@exec $(BIN)/uv run --quiet --isolated --no-project --with-requirements requirements/audit.lock -- \
		pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
		--requirement requirements/runtime.lock --requirement requirements/dev.lock $(ARGS)

# For every Python from 3.11 on and every platform, with hashes, naming no index.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

clean: ## remove the environment and all caches
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps: a changed lock makes the environment anew; a changed pyproject.toml only installs the project again.
$(VENV)/installed: $(VENV)/locked pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/fuzzer: requirements/fuzz.lock $(VENV)/installed
	@$(PIP) install --quiet --require-hashes --only-binary :all: --requirement requirements/fuzz.lock
	@touch $@

$(VENV)/locked: requirements/dev.lock
	@command -v $(PYTHON) >/dev/null || { echo 'make: $(PYTHON) not found: install Python 3.11 or newer, or name it: make PYTHON=…' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: %s is Python %d.%d; 3.11 or newer is needed: make PYTHON=python3.11" % (sys.executable, v[0], v[1]))'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'make: $(PYTHON) cannot make virtual environments: install its venv package (Debian: apt-get install python3-venv)' >&2; exit 1; }
	@echo 'Making $(VENV)/ with '"$$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet --require-hashes --only-binary :all: --requirement requirements/dev.lock
	@touch $@
