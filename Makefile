# Each target sets up what it needs. All of it is plain Poetry, as in the README.
PYTHON ?= python3
PORT ?= 8000
MODEL ?=

# The index that pip is configured with; Poetry asks PyPI unless a plugin is told.
INDEX := $(shell $(PYTHON) -c 'from pip._internal.commands import create_command as c; \
	print(c("download").parse_args([])[0].index_url)' 2>/dev/null)
ifneq ($(filter-out https://pypi.org/simple https://pypi.org/simple/,$(INDEX)),)
export POETRY_PYPI_MIRROR_URL := $(INDEX)/
OWN_POETRY := .poetry/bin/poetry
else
OWN_POETRY := $(if $(shell poetry --version 2>/dev/null | grep 'version 2'),,.poetry/bin/poetry)
endif
POETRY := $(or $(OWN_POETRY),poetry)

.PHONY: run test lint install
run: install
	@model="$(MODEL)"; [ -n "$$model" ] || model=$$($(POETRY) run python -m endpoint.weights); \
	ENDPOINT_MODEL="$$model" exec $(POETRY) run flask run --port $(PORT)

test: install
	$(POETRY) run pytest

lint: install
	$(POETRY) run pre-commit run --all-files

install: .venv/installed

.venv/installed: poetry.lock $(OWN_POETRY)
	$(POETRY) install
	@touch $@

.poetry/bin/poetry:
	$(PYTHON) -m venv .poetry
	.poetry/bin/pip install --quiet poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5
