# make demo: environment, simulated dataset, whole run, agreement with the truth.   make test: environment, whole test suite.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
NPROCS ?= 2
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
BIN := $(VENV)/bin
export NO_ET := 1

.PHONY: help venv test demo lint kill-test robustness clean

help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(VENV)/.installed  ## make the environment

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "== environment in $(VENV): about two to four minutes =="
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "setuptools>=77" wheel
	$(BIN)/python -m pip install --progress-bar on --disable-pip-version-check --constraint constraints.txt --editable '.[test,lint]' \
	  | grep --line-buffered -E '^(Collecting|Installing|Successfully|ERROR)' | cut -c -100
	@$(BIN)/python -c 'import mbseg_bids, torch, SimpleITK' && touch $@

test: venv  ## run the whole test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(NPROCS) --dist loadgroup $(PYTEST_ARGS)

demo: venv  ## simulate two participants, segment them, compare with the truth
	$(BIN)/python scripts/demo.py --out $(DEMO) --n-procs $(NPROCS)

lint: venv  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

kill-test: venv  ## kill a small run 200 times at random moments, resume it, compare bytes
	OMP_NUM_THREADS=1 $(BIN)/python -u tests/robustness/kills.py --kills $(or $(KILLS),200)

robustness: venv  ## run every broken or odd dataset and rewrite the table in docs/robustness.md
	PYTHONPATH=tests:tests/robustness OMP_NUM_THREADS=1 $(BIN)/python tests/robustness/table.py

clean:  ## remove the demo and caches
	rm -rf $(DEMO) build dist .pytest_cache .ruff_cache *.egg-info
