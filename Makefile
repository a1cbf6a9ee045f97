# make demo   set up and explain a bundled real capture
# make test   set up and check everything: lint, types, tests
# make bench  speed and memory side by side with the kernel's own tool (needs root for apt, or linux-source installed)

VENV := .venv
BIN := $(VENV)/bin
CASE := examples/leak-6.12

.PHONY: demo test lint types tests bench clean

demo: $(VENV)/.base
	$(BIN)/oomscope explain $(CASE)

test: lint types tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

tests: $(VENV)/.dev
	$(BIN)/pytest

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

$(BIN)/python:
	python3 -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt --editable .
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) dist build benchmarks/out .mypy_cache .pytest_cache .ruff_cache .hypothesis
