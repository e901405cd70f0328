# SPDX-License-Identifier: Apache-2.0
# Every target makes the virtual environment that it needs. A second call only repeats what has changed.
#
#   PYTHON=python3.12            interpreter of a new environment
#   TORCH=torch==2.13.0          which torch the test environment gets; pip's own settings choose the build (CPU or CUDA)
#   PYTEST_ARGS="-k metrics"     passed to pytest

PYTHON ?= python3
TORCH ?= torch
PYTEST_ARGS ?=

# Two environments: the runtime one never sees torch, so the demo stays quick and proves that none is needed.
RUNTIME := .venv
TESTING := .venv-test

SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE $(shell find core kernels pitviper sdk train \
	-type f ! -path '*/__pycache__/*' ! -name '*.so')
PIP := -m pip install --quiet --disable-pip-version-check

# Both environments build in build/, which two builds at once would corrupt.
ifndef HALVES
.NOTPARALLEL:
endif
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-first test-second lint bench docs picture clean

help:
	@echo "make demo    run the detector on a synthetic scene: video and targets in demo-output/"
	@echo "make test    install with the training extra and run every test"
	@echo "make lint    ruff, mypy --strict, clang-format"
	@echo "make bench   time each stage of one frame on this machine"
	@echo "make docs    build the documentation into site/"
	@echo "make picture draw the README's picture anew, from the synthetic scene"
	@echo "make clean   remove environments, builds and outputs"

demo: $(RUNTIME)/.installed
	$(RUNTIME)/bin/pitviper demo demo-output

# Two halves of about the same length, one for each of two cores: with more threads than cores, the threads of one half
# wait for each other while the other half has their core.
test: $(TESTING)/.installed
	$(MAKE) HALVES=1 --jobs=2 --output-sync=none --keep-going test-first test-second

FIRST := tests/core tests/kernels tests/train
SECOND := tests/benchmarks tests/examples tests/sdk $(wildcard tests/test_*.py)
# Exit code 5: what PYTEST_ARGS chose is in the other half.
RUN_TESTS = OMP_NUM_THREADS=1 PITVIPER_REQUIRE_NATIVE=1 $(TESTING)/bin/pytest -p no:cacheprovider $(PYTEST_ARGS)

test-first:
	$(RUN_TESTS) $(FIRST) || [ $$? -eq 5 ]

test-second:
	$(RUN_TESTS) $(SECOND) || [ $$? -eq 5 ]

lint: $(TESTING)/.linters
	$(TESTING)/bin/ruff check .
	$(TESTING)/bin/ruff format --check .
	$(TESTING)/bin/mypy
	find kernels/csrc -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \
		| xargs $(TESTING)/bin/clang-format --dry-run -Werror

bench: $(RUNTIME)/.installed
	$(RUNTIME)/bin/pitviper bench

docs: $(RUNTIME)/.docs
	$(RUNTIME)/bin/mkdocs build --strict

picture: $(RUNTIME)/.installed
	$(RUNTIME)/bin/python docs/assets/draw_demo.py docs/assets/demo.png

clean:
	rm -rf $(RUNTIME) $(TESTING) build dist site demo-output
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUNTIME)/bin/python $(TESTING)/bin/python:
	$(PYTHON) -m venv $(@:/bin/python=)

$(RUNTIME)/.installed: $(SOURCES) | $(RUNTIME)/bin/python
	$(RUNTIME)/bin/python $(PIP) .
	@touch $@

# The wheel is installed, not the checkout: what a test imports is what a user gets.
$(TESTING)/.installed: $(SOURCES) | $(TESTING)/bin/python
	$(TESTING)/bin/python $(PIP) '$(TORCH)' '.[train,test]'
	@touch $@

$(TESTING)/.linters: $(TESTING)/.installed
	$(TESTING)/bin/python $(PIP) '.[dev]'
	@touch $@

$(RUNTIME)/.docs: $(RUNTIME)/.installed
	$(RUNTIME)/bin/python $(PIP) '.[docs]'
	@touch $@
