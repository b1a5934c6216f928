# `make` alone lists the targets. Everything runs in .venv, which `make install` creates from pinned versions.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= config.example.yaml
READY  := $(VENV)/.installed
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
# the tests start the proxy some hundred times: without compiled files each start takes half as long again
unexport PYTHONDONTWRITEBYTECODE

# Intel's AMX, which halves the time of a verdict, works in llama.cpp only with a header of ours.
NATIVE_FLAGS := CXXFLAGS='$(CXXFLAGS) -include "$(CURDIR)/tools/amx_tiles.h"'
COMPILE := $(NATIVE_FLAGS) CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(BIN)/python -m pip install -c constraints.txt llama-cpp-python --verbose 2>&1 \
		| $(BIN)/python tools/build_progress.py

.DEFAULT_GOAL := help
.PHONY: help install run test lint types unit conformance console-test format bench bench-proxy bench-stream bench-engine tune-test evaluate docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or newer, or run make PYTHON=…"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 2; }
	@for tool in cc c++; do command -v $$tool >/dev/null || { echo "make: no $$tool; llama.cpp is compiled here and needs a C and a C++ compiler"; exit 2; }; done
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@echo "Installing. The first time llama.cpp is compiled from source: 3 to 15 minutes, once; pip keeps the result."
	$(COMPILE)
	@$(NATIVE_FLAGS) $(BIN)/python tools/llama_build.py || { \
		echo "The llama.cpp that pip kept doesn't use all of this processor. It is compiled anew, once."; \
		$(BIN)/python -m pip cache remove --quiet llama_cpp_python; \
		$(BIN)/python -m pip uninstall --quiet --yes llama-cpp-python && $(COMPILE); }
	$(BIN)/python -m pip install -c constraints.txt --quiet -e '.[dev]'
	@touch $@

install: $(READY) ## create .venv and install everything, pinned

run: $(READY) ## serve config.example.yaml on 127.0.0.1:8080 (CONFIG=file for another)
	$(BIN)/safeguard serve --config $(CONFIG)

test: lint types unit ## lint, types and all tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# `pytest tests/…` by hand runs in one process, which starts faster; this is for all of them.
unit: $(READY)
	$(BIN)/pytest --numprocesses $(JOBS) --maxprocesses 8 --dist worksteal

CLIENTS := .venv-clients

$(CLIENTS)/.installed: tests/conformance/requirements.txt tests/conformance/clients/package.json
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet -r tests/conformance/requirements.txt
	@if command -v npm >/dev/null; then npm install --prefix tests/conformance/clients --no-package-lock --no-fund --no-audit --silent; \
		else echo "no npm: openai-node is left out"; fi
	@touch $@

conformance: $(READY) $(CLIENTS)/.installed ## real clients (openai-node, LangChain, LiteLLM) before the proxy; installs them
	LITELLM=$(CURDIR)/$(CLIENTS)/bin/litellm $(BIN)/pytest tests/conformance tests/end_to_end/test_litellm.py

$(VENV)/.browser: pyproject.toml $(READY)
	$(BIN)/python -m pip install -c constraints.txt --quiet -e '.[dev,browser]'
	@touch $@

console-test: $(VENV)/.browser ## the console in headless Chromium (apt install chromium); installs Playwright
	@test -n "$$SAFEGUARD_CHROMIUM" || command -v chromium chromium-browser >/dev/null \
		|| { echo "make: no chromium; install it (apt install chromium) or set SAFEGUARD_CHROMIUM to its path"; exit 2; }
	$(BIN)/pytest tests/proxy/console

$(VENV)/.tune: pyproject.toml $(READY)
	@echo "Installing torch."
	$(BIN)/python -m pip install -c constraints.txt --quiet -e '.[dev,tune]'
	@touch $@

tune-test: $(VENV)/.tune ## safeguard tune with torch (about a minute); installs torch
	$(BIN)/pytest tests/models/tuning tests/proxy/tuning tests/end_to_end/test_tune.py

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: bench-proxy bench-stream bench-engine ## all benchmarks

bench-proxy: $(READY) ## requests per second and added latency against a bare proxy (QUICK=1: under 50 s)
	$(BIN)/python benchmarks/bench_proxy.py

bench-stream: $(READY) ## streams per second and time to the first text, window against buffer and bare (QUICK=1: under 60 s)
	$(BIN)/python benchmarks/bench_stream.py

bench-engine: $(READY) ## verdicts per second against llama.cpp's own ways (QUICK=1: under 10 min; THREADS=n; GPU=20b)
	$(NATIVE_FLAGS) $(BIN)/python benchmarks/bench_engine.py

evaluate: $(READY) ## measure the shipped guard anew and write its tables (DATA=folder EXTRA=folder WORK=folder; BEFORE=earlier weights)
	@test -n "$(DATA)" -a -n "$(EXTRA)" -a -n "$(WORK)" || { echo "make: DATA, EXTRA and WORK are needed; see models/weights/MODEL_CARD.md"; exit 2; }
	$(BIN)/python -m tools.train_guard.measure --data $(DATA) --extra $(EXTRA) --work $(WORK) $(if $(BEFORE),--before $(BEFORE))

docs: $(READY) ## write docs/configuration.md anew
	$(BIN)/python tools/configuration_page.py > docs/configuration.md

clean: ## remove the environment and all caches
	rm -rf $(VENV) $(CLIENTS) tests/conformance/clients/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
