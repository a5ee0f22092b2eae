# make demo: environment, simulated dataset, whole run, agreement with the truth.   make test: environment, whole test suite.
# make help lists the other targets.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
NPROCS ?= 2
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
BIN := $(VENV)/bin
export NO_ET := 1

.PHONY: help venv test coverage demo lint types docs options container-test slurm-test kill-test robustness robustness-whole clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/.installed  ## make the environment

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "== environment in $(VENV): about two to four minutes =="
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "setuptools>=77" wheel
	$(BIN)/python -m pip install --progress-bar on --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint,docs]' \
	  | grep --line-buffered -E '^(Collecting|Installing|Successfully|ERROR)' | cut -c -100
	@$(BIN)/python -c 'import mbseg_bids, torch, SimpleITK' && touch $@

test: venv  ## run the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(NPROCS) --dist loadgroup $(PYTEST_ARGS)

coverage: venv  ## run the test suite, and show which lines no test runs (slower; not part of test)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(NPROCS) --dist loadgroup --cov --cov-report=term:skip-covered --cov-report=html $(PYTEST_ARGS)
	@echo "htmlcov/index.html"

demo: venv  ## simulate two participants, segment them, compare with the truth
	$(BIN)/python scripts/demo.py --out $(DEMO) --n-procs $(NPROCS)

lint: venv  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

kill-test: venv  ## kill small runs 200 times at random moments, and a real one 20 times, resume, compare bytes
	OMP_NUM_THREADS=1 $(BIN)/python -u tests/robustness/kills.py --kills $(or $(KILLS),200)
	OMP_NUM_THREADS=1 $(BIN)/python -u tests/robustness/kills.py --kills $(or $(REAL_KILLS),20) --real

robustness: venv  ## run every broken or odd dataset and rewrite the table in docs/robustness.md
	PYTHONPATH=tests:tests/robustness OMP_NUM_THREADS=1 $(BIN)/python tests/robustness/table.py

robustness-whole: venv  ## run wrong scans through the whole App and rewrite the second table there; hours
	PYTHONPATH=tests:tests/robustness OMP_NUM_THREADS=1 $(BIN)/python tests/robustness/whole.py $(CASES)

container-test:  ## build the image and try it, on Debian as root (docs/container.md)
	nice tests/container/check.sh

slurm-test: venv  ## an array of participants on a real SLURM, on Debian as root (docs/cluster.md)
	PYTHON=$(abspath $(BIN)/python) nice tests/slurm/check.sh

types: venv  ## check static types, of the scripts too
	$(BIN)/mypy
	cd scripts && $(abspath $(BIN))/mypy --config-file ../pyproject.toml *.py recipe/*.py

docs: venv  ## build the site in docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --fresh-env --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

options: venv  ## write docs/options.md from the commands' parsers
	$(BIN)/python scripts/options_page.py

clean:  ## remove the demo, the site and caches
	rm -rf $(DEMO) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .coverage htmlcov *.egg-info
