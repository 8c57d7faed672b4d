# Everything runs in .venv, which is made on the first use and again when pyproject.toml or requirements/ change.
#   make demo ARGS="--port 9000"     another python: make PYTHON=/path/to/python3.12 …

VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
MINUTES ?= 30
SEED ?= 1
# Most tests wait for a server or a browser: four at a time left two cores idle for nearly half of the time.
WORKERS ?= 6
EXAMPLES ?= 2000
HITS ?= 1000000
export PYTHON
# The tests start Python some hundred times: without compiled files each service takes a third more.
unexport PYTHONDONTWRITEBYTECODE
# By speed, and only those that are there: what fails fast is seen first (tests/conftest.py starts the longest at once).
TESTS := $(wildcard tests/unit tests/store tests/upgrade tests/web tests/integrations tests/browser tests/faults)

.DEFAULT_GOAL := help
.PHONY: help demo ops-demo release test test-long check format bench soak compare fuzz widget pictures lock clean

# Scripts in a virtual environment name its folder: after a move it is made anew.
ifneq ($(wildcard $(VENV)/.place),)
ifneq ($(shell cat $(VENV)/.place),$(CURDIR))
$(shell rm -f $(VENV)/.runtime $(VENV)/.dev)
endif
endif

help:
	@echo "make demo     try it: a small portal with the counter, at http://127.0.0.1:8080/demo/"
	@echo "make ops-demo the same with readers, and Prometheus with the rules and alerts beside it"
	@echo "make test     checks and all tests, on a real store and in a real browser"
	@echo "make test-long  the tests for which make test has no time (before a release)"
	@echo "make check    linter, formatter, types, layers, documentation"
	@echo "make format   let ruff put the code into shape"
	@echo "make bench    CPU per hit at real rates and in a flood, beside two yardsticks"
	@echo "make soak     faults at random on real servers, and a judge: make soak MINUTES=30 SEED=1"
	@echo "make compare  made-up hits, and an independent count: make compare HITS=1000000 SEED=1"
	@echo "make fuzz     the pure rules and a worker, with other examples each time: make fuzz EXAMPLES=2000 SEED=1"
	@echo "make widget   build the widget (needs Node.js)"
	@echo "make pictures take the pictures of docs/editors.md (needs Chromium)"
	@echo "make lock     renew requirements/ with the newest versions that pyproject.toml allows"
	@echo "make release  wheel, sdist, widget with its integrity, SBOM, image and checksums in dist/, from a clean tree"
	@echo "make clean    remove .venv, caches and builds (not visitstats-data)"

LOCKS := $(wildcard requirements/*.txt)

$(VENV)/.runtime: pyproject.toml $(LOCKS)
	@scripts/venv.sh runtime

$(VENV)/.dev: pyproject.toml $(LOCKS)
	@scripts/venv.sh dev

# exec: Ctrl-C then reaches the program alone, which stops everything in order and exits 0; make stays silent.
demo: $(VENV)/.runtime
	@exec $(BIN)/visitstats demo $(ARGS)

ops-demo: $(VENV)/.runtime
	@exec scripts/ops-demo.sh $(ARGS)

release: $(VENV)/.dev
	@exec $(BIN)/python -m scripts.release

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/unit/test_layers.py tests/unit/test_docs.py tests/unit/test_packaging.py

# Ends with pytest's closing line: CI reads it.
test: check
	$(BIN)/python -m tests.browser.install
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal -m "not long" $(TESTS) $(ARGS)

# What a quarter of an hour has no room for: builds, other machines' programs, the slow looks at every page. They do not
# wait, they work: two at a time.
test-long: $(VENV)/.dev
	$(BIN)/python -m tests.browser.install
	npm ci --prefix tests/integrations --no-audit --no-fund --silent || echo "without npm some tests are skipped"
	$(BIN)/pytest --numprocesses 2 --dist worksteal -m long $(TESTS) $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev
	@exec $(BIN)/python -m benchmarks $(ARGS)

soak: $(VENV)/.dev
	@exec $(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

compare: $(VENV)/.dev
	@exec $(BIN)/python -m tests.comparison --hits $(HITS) --seed $(SEED)

fuzz: $(VENV)/.dev
	VISITSTATS_EXAMPLES=$(EXAMPLES) VISITSTATS_SEED=$(SEED) $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal --timeout 0 tests/unit tests/web/test_fuzz.py $(ARGS)

widget:
	cd widget && npm ci --no-audit --no-fund && npm run build

pictures: $(VENV)/.dev
	@exec $(BIN)/python -m tests.browser.pictures

lock:
	@scripts/lock.sh

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
