# make demo   set up and explain a bundled real capture; PYTHON=python3.12 chooses the Python
# make test   set up and check: lint, types, tests
# make slow   the longest tests, which CI runs, too
# make lab    real kernels in QEMU, run out of memory on purpose: the default matrix, and its tests (docs/lab.md)
# make lab-all  every kernel and scenario there is; writes docs/lab-results.md
# make lab-stock  Debian's own kernels of several suites, unmodified; writes docs/lab-results.md
# make bpf    build the programs that run inside the kernel (clang, llvm, libbpf-dev)
# make coverage  the branches of src/ that the tests run
# make site    the documentation as a site, with the page that explains a log in the browser (needs npm)
# make golden  write anew what people see of real cases (tests/golden); read what changed
# make release  dist/: source distribution and wheel, built twice and equal, checked; checksums and notes
# make deb     Debian packages for bookworm and trixie, after make release
# make bundle  one file for each platform that installs without an index, after make release
# make fuzz   inputs damaged by chance, numbered (docs/reliability.md); FUZZ="--from N --count N" chooses them
# make bench  speed and memory side by side with the kernel's own tool (needs root for apt, or linux-source installed)

PYTHON := python3
VENV := .venv
BIN := $(VENV)/bin
CASE := examples/leak-6.12

.PHONY: demo test lint types tests slow site golden coverage release bundle deb fuzz bpf lab lab-all lab-stock bench clean

demo: $(VENV)/.base
	$(BIN)/oomscope explain $(CASE)

# Types beside tests: a suite with browsers and clusters waits a good deal. What lint measures it measures alone.
test: lint
	$(MAKE) --no-print-directory -j2 --output-sync=line types tests

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m lint.sizes
	$(BIN)/python -m lint.patterns

types: $(VENV)/.dev
	$(BIN)/mypy

tests: $(VENV)/.dev
	$(BIN)/pytest -m "not slow"

slow: $(VENV)/.dev
	$(BIN)/pytest -m slow

# Branches of src/ that the tests run; what runs in guests only is left out: CONTRIBUTING.md.
coverage: $(VENV)/.dev
	$(BIN)/pytest --cov --cov-report=term --ignore tests/triage/test_cluster.py

release: $(VENV)/.dev bpf
	$(BIN)/python -m release

deb: release
	$(BIN)/python -m release.deb

bundle: release
	$(BIN)/python -m release.bundle

site: $(VENV)/.dev
	$(BIN)/python -m website

golden: $(VENV)/.dev
	$(BIN)/python -m tests.golden.cases
	$(BIN)/python -m release.picture

FUZZ := --count 20000

fuzz: $(VENV)/.dev
	OOMSCOPE_FUZZ=1 $(BIN)/pytest -n auto tests/test_damaged.py tests/test_damaged_reports.py tests/sources/test_damaged_accounts.py tests/attribution
	$(BIN)/python -m fuzz $(FUZZ)

lab: $(VENV)/.dev
	$(BIN)/python -m lab setup
	$(MAKE) bpf
	$(BIN)/python -m lab run
	$(BIN)/pytest tests/lab

# What cannot be captured, or fails its test, stands in the table; the exit status tells too.
lab-all: KERNELS := --all
lab-stock: KERNELS := --stock
lab-all lab-stock: $(VENV)/.dev
	$(BIN)/python -m lab setup --all
	$(MAKE) bpf
	$(BIN)/python -m lab run $(KERNELS); captured=$$?; \
	$(BIN)/pytest tests/lab --junitxml=lab/out/tests.xml; passed=$$?; \
	$(BIN)/python -m lab results lab/out/tests.xml > docs/lab-results.md && exit $$((captured + passed))

# The programs that run inside the kernel, one object for each architecture; nothing of the machine that builds goes in.
BPF := src/oomscope/host/bpf
BPF_FLAGS := -O2 -g -Wall -Wextra -Wno-unused-parameter -Werror -target bpf -mcpu=v3 -ffile-prefix-map=$(CURDIR)=.

bpf: $(BPF)/panic_report.x86_64.o $(BPF)/panic_report.arm64.o

$(BPF)/panic_report.x86_64.o: TARGET_ARCH_NAME := x86
$(BPF)/panic_report.arm64.o: TARGET_ARCH_NAME := arm64
$(BPF)/panic_report.%.o: $(BPF)/panic_report.bpf.c $(wildcard $(BPF)/*.h)
	clang $(BPF_FLAGS) -D__TARGET_ARCH_$(TARGET_ARCH_NAME) -c $< -o $@
	llvm-strip -g $@

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.endurance
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.scan
	$(BIN)/python -m benchmarks.triage
	$(BIN)/python -m benchmarks.crash_reader

# One that does not run, or has no pip, or is of an older Python, is made anew.
$(shell [ ! -e $(VENV) ] || $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || rm -rf $(VENV))

$(BIN)/python:
	@$(PYTHON) src/oomscope/old_python.py
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: pyproject.toml requirements-dev.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt --editable .
	touch $@ $(VENV)/.base

clean:
	rm -rf $(BPF)/*.o $(VENV) dist build website/out website/node_modules benchmarks/out .mypy_cache .pytest_cache .ruff_cache .hypothesis
