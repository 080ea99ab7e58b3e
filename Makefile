# Every target runs in .venv, which is made when it is first needed, and brought up to date when what it is made
# from has changed. Another Python: make PYTHON=python3.12 sweep

PYTHON ?= python3
VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
# Tests run in as many processes as there are CPU cores, up to four, as each takes more than a GiB; the tests of one
# file stay together, since they share what was made for them.
AT_ONCE := -n logical --maxprocesses 4 --dist loadfile
LONGEST_FIRST := --no-loadscope-reorder # tests/conftest.py puts the files with slow tests first

.DEFAULT_GOAL := help
.PHONY: help sweep ui test test-ci test-all bench lint setup

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

sweep: $(READY) ## train the eleven variants at a small budget, each as an MLflow run
	@$(VENV_PYTHON) -m gpt_experiments sweep quick
	@echo
	@echo "That was the quick look. The full sweep, every variant for 3,000 steps:"
	@echo "  $(VENV_PYTHON) -m gpt_experiments sweep one-at-a-time"
	@echo "To look at the runs: make ui"

ui: $(READY) ## compare the runs of this folder in MLflow's pages
	@$(VENV_PYTHON) -m gpt_experiments ui

test: $(READY) ## run the tests that take no more than a few seconds each
	$(VENV_PYTHON) -m pytest $(AT_ONCE) -m "not slow and not network and not browser and not thorough"

test-ci: $(READY) ## run what every change must pass; needs the package index, Chromium and PostgreSQL
	$(VENV_PYTHON) -m pytest $(AT_ONCE) $(LONGEST_FIRST) -m "not thorough"

test-all: $(READY) ## run every test, as before a release; needs the same
	$(VENV_PYTHON) -m pytest $(AT_ONCE) $(LONGEST_FIRST)

bench: $(READY) ## measure how fast training is here, against the plain way; some minutes
	@$(VENV_PYTHON) -m gpt_experiments bench

lint: $(READY) ## check style, format, types and the direction of imports
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV)/bin/lint-imports --no-logo

setup: $(READY) ## only make .venv

# Bytecode is left to the first import, because compiling all of it would double the time; so it has to be kept then,
# also where the environment says not to, or every start would compile PyTorch again.
unexport PYTHONDONTWRITEBYTECODE

# A .venv that works is kept, with the build of PyTorch that is in it; one whose making was cut short is made anew.
$(READY): setup.cfg pyproject.toml constraints.txt
	@if ! $(VENV_PYTHON) -c 'import pip' 2> /dev/null; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	    echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version 2> /dev/null || echo missing);" \
	      "name a newer one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; \
	  }; \
	  $(PYTHON) -m venv --clear $(VENV); \
	fi
	@echo "Setting up $(VENV): a few minutes the first time, most of it PyTorch and MLflow ..."
	@$(VENV_PYTHON) -m pip install -qq --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@
