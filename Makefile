# The two set-up commands are `make demo` and `make test`. Each makes .venv when it is
# missing, installs the package there under constraints.txt, and runs.
#
#   make test PYTHON=python3.13          another interpreter for a new .venv
#   make test PIP_ARGS="--index-url ..." extra arguments to pip, for example PyTorch's
#                                        own index of CPU-only builds
#   make test SKLABELDIFF_DATA=/folder   where the real data sets are
#
# The versions of other packages are those of constraints.txt. `make test-floor` and
# `make test-latest` run the same tests, in environments of their own, on the oldest
# versions that pyproject.toml allows and on the newest there are.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
CONSTRAINTS ?= constraints.txt
WORKERS ?= 2
SPHINXOPTS ?= -W --keep-going

BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install $(PIP_ARGS) -c $(CONSTRAINTS)

# Real data sets: the environment's choice, or shared/data beside the checkout.
BESIDE = $(patsubst %/pll,%,$(wildcard ../shared/data/pll))

.DEFAULT_GOAL := help
# A .venv that could not be completed (no ensurepip, say) is not taken for one.
.DELETE_ON_ERROR:
.PHONY: help demo test test-full test-floor test-latest tests lint coverage mutants fuzz \
	kills audit docs dist bench clean

help:
	@echo "make demo       resolve ambiguous digits, print accuracies, save a picture"
	@echo "make test       lint, types, and every check at its smallest honest size"
	@echo "make test-full  the same checks with many seeds and large sizes"
	@echo "make test-floor, make test-latest  the tests on the oldest and newest versions"
	@echo "make lint       ruff and mypy"
	@echo "make mutants    break the code on purpose: every check must notice"
	@echo "make coverage   which lines and branches no test executes"
	@echo "make fuzz       a hundred thousand odd inputs, three thousand odd fits"
	@echo "make kills      stop fits at random moments: what comes after must be equal"
	@echo "make audit      known vulnerabilities of the pinned versions (asks PyPI)"
	@echo "make docs       the documentation as HTML, in docs/_build/html"
	@echo "make dist       sdist and wheel, checked, and the tests against the wheel"
	@echo "make bench      the accuracy table of the documentation"
	@echo "make clean      remove what these commands made, .venv included"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

# torch goes first: alone it is resolved to the pinned version, in the build that
# PIP_ARGS or pip's configuration prefers, and the second line finds it settled.
$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) -e ".[dev,vision,images,text,datasets,ann,plot,bench,dask,ray,distributed]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP_INSTALL) -e ".[docs]"
	@touch $@

demo: $(VENV)/.installed
	MPLBACKEND=Agg $(BIN)/python examples/plot_digits_demo.py

# A clone without data runs everything else, and says so: each test that is skipped is
# listed at the end. A folder that was asked for and is not there is an error.
test: lint tests

test-full: export SKLABELDIFF_FULL := 1
test-full: lint tests

# What is printed is kept in docs/versions, but for the path of this folder.
test-floor test-latest: test-%:
	$(MAKE) .venv-$*/.installed VENV=.venv-$* CONSTRAINTS=constraints-$*.txt
	(git log -1 --format='commit %h' && $(MAKE) -s tests VENV=.venv-$*) > $*.log 2>&1 \
		|| (tail -n 40 $*.log; exit 1)
	grep -v '^rootdir: ' $*.log > docs/versions/$*.txt
	@tail -n 1 $*.log && rm $*.log

tests: export SKLABELDIFF_DATA := $(or $(SKLABELDIFF_DATA),$(abspath $(BESIDE)),none)
tests: $(VENV)/.installed
	@# A worker that has nothing left takes over from the other: no long tail on one.
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Fails below the share that pyproject.toml asks for, of lines and branches.
coverage: export SKLABELDIFF_DATA := $(or $(SKLABELDIFF_DATA),$(abspath $(BESIDE)),none)
coverage: export COVERAGE_FILE := $(CURDIR)/build/coverage/coverage
coverage: $(VENV)/.installed
	mkdir -p build/coverage
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-context=test \
		--junitxml=build/coverage/junit.xml

mutants: $(VENV)/.installed
	$(BIN)/python tests/mutants/run.py

# A slice of both is in every run of the tests.
fuzz: $(VENV)/.installed
	SKLABELDIFF_FUZZ=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/fuzz

kills: $(VENV)/.installed
	$(BIN)/python tests/kill_fits.py --moments 50

# In an environment of its own: what the audit needs is no part of what it looks at.
audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install -q $(PIP_ARGS) pip-audit
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r $(CONSTRAINTS)

docs: $(VENV)/.installed-docs
	MPLBACKEND=Agg $(BIN)/python -m sphinx $(SPHINXOPTS) -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

# The tests run where no source of the package is: in what the sdist brings, but for it.
dist: export SKLABELDIFF_DATA := $(or $(SKLABELDIFF_DATA),$(abspath $(BESIDE)),none)
dist: $(VENV)/.installed
	rm -rf dist build/wheel
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	mkdir -p build/wheel
	tar -xzf dist/sklabeldiff-*.tar.gz -C build/wheel --strip-components=1
	rm -r build/wheel/sklabeldiff
	$(PYTHON) -m venv build/wheel/.venv
	cd build/wheel && .venv/bin/python -m pip install -q $(PIP_ARGS) -c $(CONSTRAINTS) torch
	cd build/wheel && .venv/bin/python -m pip install -q $(PIP_ARGS) -c $(CONSTRAINTS) \
		"sklabeldiff[dev,vision,images,text,datasets,ann,plot,bench,dask,ray,distributed] @ \
		file://$$(echo $(CURDIR)/dist/sklabeldiff-*.whl)"
	cd build/wheel && .venv/bin/python -m pytest -n $(WORKERS) --dist worksteal \
		tests docs --ignore=tests/test_packaging.py --pyargs sklabeldiff

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks accuracy

clean:
	rm -rf $(VENV) .venv-floor .venv-latest .venv-audit build dist docs/_build docs/api/generated docs/auto_examples
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find sklabeldiff tests benchmarks examples docs -name __pycache__ -prune -exec rm -rf {} +
