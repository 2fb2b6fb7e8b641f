# Every target sets up what it needs in .venv; a second call finds it done.
# Settings: PYTHON (interpreter to make .venv with), WORKERS (test processes), DYNINFER_DATA (folder with data sets).
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test test-lowest test-newest fuzz mutants check science bench tutorials docs docs-fast clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.test ## make .venv with the package and what its tests need

setup-dev: $(VENV)/.dev ## the same with ruff, mypy and the tools of the docs

demo: $(VENV)/.test ## learn real cells with a time held out, simulate them, and write demo/report.html
	$(BIN)/dyninfer demo

test: $(VENV)/.test ## run the whole test suite but what is slow
	@# One thread per process: threads that wait for each other are slower than none.
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

# Rooms whose tests take a minute or two, and touch every dependency.
FAST_TESTS := tests/data tests/learning tests/metrics tests/simulation tests/cli
# The version of torch that the lowest versions are tried with, where a build for it is at hand.
TORCH ?= 2.13.0

test-lowest: .venv-lowest/.ready ## run the fast tests with the lowest versions that pyproject.toml admits
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q -m "not slow" $(FAST_TESTS)

test-newest: .venv-newest/.ready ## run them with the newest versions that it admits
	OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest -q -m "not slow" $(FAST_TESTS)

# Bounds of make fuzz, which together take 15 minutes on two cores. Of inputs, as many as the time
# allows, up to 2,500 for every door and 22,200 files, and a part of the kills. All
# that the counts ask for, hours: make fuzz FUZZ_SECONDS=30000 FUZZ_KILLS="--fits 200 --saves 100"
FUZZ_SECONDS ?= 600
FUZZ_KILLS ?= --fits 50 --saves 50 --seconds 40

fuzz: $(VENV)/.test ## try odd inputs for every public function, damaged files, and kills of fits (15 minutes)
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --workers $(WORKERS) --seed 0
	PYTHONPATH=tests $(BIN)/python -m fuzz.kills $(FUZZ_KILLS)

# Rooms whose numbers everything rests on, and the tests that look at them.
ROOMS := dyninfer/metrics dyninfer/data dyninfer/simulation
MUTANTS := --count 600 --seconds 3000 --seed 0

mutants: $(VENV)/.test ## put one small fault at a time into the package, and list those no test notices (an hour)
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python -m fuzz.mutants $(ROOMS) $(MUTANTS) \
	  --tests tests/metrics tests/data tests/simulation tests/tools/test_compare.py tests/test_errors.py

check: $(VENV)/.dev ## ruff, mypy, spelling, and the tests that take seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow" --ignore=tests/test_tutorials.py --ignore=tests/test_docs.py

science: $(VENV)/.test ## run the experiments behind docs/results.md and the slow tests (long; DYNINFER_DATA: folder of data sets)
	@for script in tests/benchmarks/science_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
	$(BIN)/python -m pytest -m slow

# Those whose ratios are stored; the others measure the first step and memory.
SPEED := solvers training interpolants fractional hidden metrics
BENCH := OMP_NUM_THREADS=1 .venv-bench/bin/python tests/benchmarks

bench: .venv-bench/.ready ## measure speed beside other packages, and name what got slower than the stored ratios
	@for name in $(SPEED); do \
	  echo "== $$name"; $(BENCH)/bench_$$name.py --json build/bench/$$name.json || exit 1; \
	done
	@for name in first_step memory; do echo "== $$name"; $(BENCH)/bench_$$name.py || exit 1; done
	@$(BENCH)/against.py build/bench

tutorials: $(VENV)/.dev ## execute tutorials/*.py in full and leave notebooks in build/tutorials
	@mkdir -p build/tutorials
	@for file in tutorials/*.py; do \
	  echo "== $$file"; \
	  notebook=build/tutorials/$$(basename $$file .py).ipynb; \
	  $(BIN)/jupytext --quiet --to ipynb --output $$notebook $$file \
	    && OMP_NUM_THREADS=1 $(BIN)/jupyter-execute --inplace --timeout=900 $$notebook || exit 1; \
	done

docs: $(VENV)/.dev ## build the site with executed tutorials in docs/_build/html; warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

docs-fast: $(VENV)/.dev ## build the site without executing the tutorials, in about a minute
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going -D nb_execution_mode=off -b html docs docs/_build/fast

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) .venv-bench .venv-lowest .venv-newest build dist demo docs/_build docs/api/generated docs/tutorials docs/jupyter_execute
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.test: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("dyninfer needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12")'
	@test -x $(BIN)/python || { echo "making $(VENV): about 60 packages, some minutes"; $(PYTHON) -m venv $(VENV); }
	$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(PIP) -e ".[dev]"
	@touch $@

# The packages that ours is measured beside. Those that ask for old versions of NumPy run with new ones.
.venv-bench/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -qq -c constraints.txt -e ".[test]"
	.venv-bench/bin/python -m pip install -qq -c constraints.txt hmmlearn deeptime
	.venv-bench/bin/python -m pip install -qq --no-deps torchcfm fbm==0.3.0 stochastic==0.6.0
	@touch $@

.venv-lowest/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	sed 's/^torch==.*/torch==$(TORCH)/' constraints-lowest.txt > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install -qq -c .venv-lowest/constraints.txt -e ".[test]"
	@touch $@

# Of torch, the version of constraints.txt: where a machine has none, others take gigabytes.
.venv-newest/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-newest
	grep '^torch==' constraints.txt > .venv-newest/constraints.txt
	.venv-newest/bin/python -m pip install -qq -c .venv-newest/constraints.txt -e ".[test]"
	@touch $@
