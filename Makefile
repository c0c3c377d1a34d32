# The commands of this project. Each makes .venv when it is missing or when pyproject.toml has changed.
# pip would compile what it installs on one core; compileall does on all, and passes over templates that are no Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# tests side by side, a file in one place; slow ones first, those of pages last
SPREAD := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# what tests start, kernels and servers, would compile the package anew each time
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench clean

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[test]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

# masks proposed and triaged on sample images, with a gallery to open: make demo ARGS=--no-serve
demo: $(VENV)/.installed
	$(BIN)/workbench demo $(ARGS)

# everything: lint, layers, types beside all tests
test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest $(SPREAD) $(ARGS); tests=$$?; \
	wait $$types || { echo "mypy has found errors: see above"; exit 1; }; exit $$tests

# what to run before each commit, under three minutes
check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(SPREAD) -m "not slow and not browser" -x $(ARGS)

# the figures of benchmarks/RESULTS.md; takes long: see benchmarks/README.md
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build demo.wb
