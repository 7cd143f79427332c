# Two commands set everything up: `make demo` and `make test`. The rest is for development.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= 4

.PHONY: help env demo test test-all validators miniature true-size lint

help:
	@echo "make demo       the whole workflow on the embedded miniature; ends by naming the report"
	@echo "make test       the tests"
	@echo "make test-all   the tests and the long proofs"
	@echo "make validators RO-Crate and CITATION.cff validators for the tests, in .validators"
	@echo "make env        the environment alone, in $(VENV), with exact pins"
	@echo "make miniature  trains the miniature again (under 15 minutes on 2 cores)"
	@echo "make true-size  the workflow on random weights of GPT-2 XL's size: time and memory"
	@echo "make lint       ruff, mypy, snakefmt, snakemake --lint"

# The stamp is made last, so an interrupted installation is repeated.
env: $(VENV)/installed
$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; choose one with: make env PYTHON=python3.11") if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	@echo "Making the environment in $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	@touch $@

demo: env
	@$(BIN)/snakemake --cores $(CORES) --quiet host reason progress --config model=miniature
	@echo
	@echo "The report: report/miniature/report.html (to read), report/miniature/report.md (the same for GitHub)"

test: env
	@$(BIN)/python -m pytest --quiet -m "not slow"

test-all: env
	@$(BIN)/python -m pytest --quiet

# Apart from the environment, whose versions they would change.
validators: .validators/installed
.validators/installed: tests/validators.txt
	@$(PYTHON) -m venv .validators
	@.validators/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

miniature: env
	@$(BIN)/python -m replication.miniature.train

true-size: env
	@$(BIN)/python benchmarks/true_size.py

lint: env
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/snakefmt --check Snakefile
	@$(BIN)/snakemake --lint
