# make example   annotate the bundled genome and compare the result with the truth
# make test      run the tests
# make check     lint, formatting, types
# make clean     remove what the above made
#
# Each sets itself up in .venv. Another interpreter: make example PYTHON=/path/to/python3.11

VENV := .venv
BIN := $(VENV)/bin
OUT := examples/out
SOURCES := $(shell find lstmhmm_bio -name '*.py' -o -name '*.toml' -o -name '*.safetensors')
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c "$(NEW_ENOUGH)" 2>/dev/null && echo $$p && break; done)

.PHONY: example test check clean
.DELETE_ON_ERROR:

example: $(OUT)/genes.gff3
	@echo
	@head -n 5 $<
	@echo "... in $<, against examples/truth.gff3:"
	@echo
	@$(BIN)/lstmhmm evaluate examples/truth.gff3 $< --genome examples/genome.fa

$(OUT)/genes.gff3: examples/genome.fa $(VENV)/installed $(SOURCES)
	@mkdir -p $(OUT)
	$(BIN)/lstmhmm annotate $< -o $@ --proteins $(OUT)/proteins.faa

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(OUT) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Some systems ship Python without ensurepip: their pip installs another one into the environment.
$(BIN)/python:
	@$(or $(PYTHON),false) -c "$(NEW_ENOUGH)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@ $(VENV)/installed
