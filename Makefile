# Two commands set everything up: `make demo` and `make test`. The rest is for development.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CORES ?= 4
SCRATCH ?= scratch
BEFORE_INSTALL := replication/base/before_install.py

.PHONY: help env demo test test-all kills portability arm64 validators coverage lock miniature rehearsal compare lint

help:
	@echo "make demo       the whole workflow on the embedded miniature; ends by naming the report"
	@echo "make test       the tests"
	@echo "make test-all   the tests and the long proofs"
	@echo "make portability  the same bits on emulated processors (qemu-user; 20 minutes)"
	@echo "make arm64      an emulated 64-bit Arm for it, in .arm64 (root, debootstrap, binutils-aarch64-linux-gnu; 1.5 GB)"
	@echo "make validators RO-Crate and CITATION.cff validators for the tests, in .validators"
	@echo "make env        the environment alone, in $(VENV), as locked in requirements.lock"
	@echo "make lock       makes requirements.lock anew from pyproject.toml"
	@echo "make coverage   the tests, and the lines that they do not reach"
	@echo "make kills      30 kills of the workflow at random moments, and a check of the results"
	@echo "make miniature  trains the miniature again (under 15 minutes on 2 cores)"
	@echo "make rehearsal  the first run on GPT-2 XL, rehearsed on random weights of its size (SCRATCH=folder)"
	@echo "make compare    time and memory against a plain loop of the same work, on weights of that size (SCRATCH=folder)"
	@echo "make lint       ruff, mypy, snakefmt, snakemake --lint, import-linter, deptry"

# The stamp is made last, so an interrupted installation is repeated.
env: $(VENV)/installed
# All but torch is held by hash; torch by its version, as every index has builds of its own.
$(VENV)/installed: pyproject.toml requirements.lock
	@$(PYTHON) $(BEFORE_INSTALL)
	@echo "Making the environment in $(VENV), once:"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(BEFORE_INSTALL) torch > $(VENV)/torch.txt
	@$(PIP) --require-hashes --no-deps --requirement requirements.lock
	@$(PIP) --no-build-isolation --editable '.[second-opinion,test,dev]' --requirement $(VENV)/torch.txt
	@touch $@

# Only torch's builds for a GPU depend on these; pip takes them with torch, from the same index.
GPU_ONLY := triton cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13

# Keeps the versions that still fit; delete requirements.lock first to take the newest ones.
lock:
	@test -x $(BIN)/uv || $(MAKE) env
	@printf '%s\n' $(GPU_ONLY) | UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --no-config --quiet \
		pyproject.toml --extra second-opinion --extra test --extra dev --no-emit-package torch --excludes /dev/stdin \
		--universal --python-version 3.11 --generate-hashes --no-annotate --output-file requirements.lock

demo: env
	@$(BIN)/snakemake --cores $(CORES) --config model=miniature

# Two processes, which take whole files: fixtures of a file are made once.
test: env
	@$(BIN)/python -m pytest --quiet -m "not slow" --numprocesses 2 --dist loadfile

test-all: env
	@$(BIN)/python -m pytest --quiet

portability: env
	@$(BIN)/python -m pytest --quiet --capture=no tests/engine/test_portability.py

arm64: env
	@$(BIN)/python tests/arm64.py

# Apart from the environment, whose versions they would change.
validators: .validators/installed
.validators/installed: tests/validators.txt
	@$(PYTHON) -m venv .validators
	@.validators/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

coverage: env
	@$(BIN)/python -m pytest --quiet -m "not slow" --cov

kills: env
	@$(BIN)/python tests/kills.py

miniature: env
	@$(BIN)/python -m replication.miniature.train

rehearsal: env
	@mkdir -p $(SCRATCH)
	@$(BIN)/python benchmarks/rehearsal.py --scratch $(SCRATCH)

compare: env
	@$(BIN)/python benchmarks/compare.py --scratch $(SCRATCH)
	@$(BIN)/python benchmarks/sweep.py --scratch $(SCRATCH)

lint: env
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/snakefmt --check Snakefile
	@$(BIN)/python -m pytest --quiet tests/workflow/test_workflow.py -k lint
	@$(BIN)/lint-imports && $(BIN)/deptry replication
