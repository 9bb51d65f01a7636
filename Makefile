# The two set-up commands are `make demo` and `make test`. Each makes .venv when it is
# missing, installs the package there under constraints.txt, and runs.
#
#   make test PYTHON=python3.13          another interpreter for a new .venv
#   make test PIP_ARGS="--index-url ..." extra arguments to pip, for example PyTorch's
#                                        own index of CPU-only builds
#   make test SKLABELDIFF_DATA=/folder   where the real data sets are

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
WORKERS ?= 2
SPHINXOPTS ?= --keep-going

BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt

# Real data sets: the environment's choice, or shared/data beside the checkout.
BESIDE = $(patsubst %/pll,%,$(wildcard ../shared/data/pll))

.DEFAULT_GOAL := help
# A .venv that could not be completed (no ensurepip, say) is not taken for one.
.DELETE_ON_ERROR:
.PHONY: help demo test test-full lint mutants docs bench clean

help:
	@echo "make demo       resolve ambiguous digits, print accuracies, save a picture"
	@echo "make test       lint, types, and every check at its smallest honest size"
	@echo "make test-full  the same checks with many seeds and large sizes"
	@echo "make lint       ruff and mypy"
	@echo "make mutants    break the code on purpose: every check must notice"
	@echo "make docs       the documentation as HTML, in docs/_build/html"
	@echo "make bench      the accuracy table of the documentation"
	@echo "make clean      remove what these commands made, .venv included"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

# torch goes first: alone it is resolved to the pinned version, in the build that
# PIP_ARGS or pip's configuration prefers, and the second line finds it settled.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) -e ".[dev,vision,plot,bench]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP_INSTALL) -e ".[docs]"
	@touch $@

demo: $(VENV)/.installed
	MPLBACKEND=Agg $(BIN)/python examples/plot_digits_demo.py

# A clone without data runs everything else, and says so: each test that is skipped is
# listed at the end. A folder that was asked for and is not there is an error.
test: export SKLABELDIFF_DATA := $(or $(SKLABELDIFF_DATA),$(abspath $(BESIDE)),none)
test: lint
	$(BIN)/python -m pytest -n $(WORKERS)

test-full: export SKLABELDIFF_FULL := 1
test-full: lint
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants/run.py

docs: $(VENV)/.installed-docs
	MPLBACKEND=Agg $(BIN)/python -m sphinx $(SPHINXOPTS) -b html docs docs/_build/html

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks accuracy

clean:
	rm -rf $(VENV) build dist docs/_build docs/api/generated docs/auto_examples
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find sklabeldiff tests benchmarks examples docs -name __pycache__ -prune -exec rm -rf {} +
