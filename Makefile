# The two commands of the README are `make quickstart` and `make test`; both set up .venv by themselves.
#
#   PYTHON=python3.12      another interpreter (3.11 or newer)
#   TORCH=torch==2.13.0    another torch
#   TORCH_INDEX=URL        where torch comes from, for example PyTorch's CPU index

PYTHON ?= python3
VENV ?= .venv
SHARED ?= ../shared/data
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
BIN := $(VENV)/bin

.PHONY: help quickstart test test-all check format reference templates families build clean

help:
	@echo "make quickstart   set up and run the shipped example end to end (minutes)"
	@echo "make test         set up and run the fast tests"
	@echo "make test-all     all tests, with those on the real model"
	@echo "make check        lint, format and types"
	@echo "make format       let ruff mend what it can"
	@echo "make reference    write docs/cli.md and docs/recipe.md from the code"
	@echo "make templates    write docs/templates.md from real chat templates (SHARED=FOLDER)"
	@echo "make families     write docs/families.md from tiny models of each family"
	@echo "make build        the wheel, in dist/"
	@echo "make clean        remove the virtual environment and what was built"

quickstart: $(VENV)/.train
	$(BIN)/tunesmith run examples/cron/recipe.toml

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu"

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(VENV)/.dev
	$(BIN)/python -m tunesmith.cli.reference docs

templates: $(VENV)/.dev
	$(BIN)/python scripts/template_table.py $(SHARED) docs/templates.md

families: $(VENV)/.dev
	$(BIN)/python scripts/family_table.py docs/families.md

build: $(VENV)/.dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) dist build

# A stamp is written only after its install ended well, so an interrupted set-up is simply done again.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.train: pyproject.toml scripts/install_torch.py | $(VENV)/bin/python
	$(BIN)/python scripts/install_torch.py "$(TORCH)" "$(TORCH_INDEX)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[train]"
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[train,dev]"
	@touch $@
