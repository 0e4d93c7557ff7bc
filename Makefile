# Each target sets up what it needs, with a Poetry of its own in .poetry/: the version
# that wrote the lock, and a plugin that lets it follow pip's index, be that a company's
# mirror or one that serves HTML only. Your own serves as well: make POETRY=poetry run
PYTHON ?= python3
PORT ?= 8000
MODEL ?=
POETRY ?= .poetry/bin/poetry

.PHONY: run test lint install
run: install
	@model="$(MODEL)"; \
	[ -n "$$model" ] || model=$$($(POETRY) run python -m endpoint.weights) || exit; \
	ENDPOINT_MODEL="$$model" exec $(POETRY) run flask run --port $(PORT)

test: install
	$(POETRY) run pytest

lint: install
	$(POETRY) run pre-commit run --all-files

install: .venv/installed

.venv/installed: poetry.lock $(filter .poetry/%,$(POETRY))
	$(POETRY) env use --quiet $(PYTHON)
	index=$$(PATH=.poetry/bin:$$PATH python3 -c "$$PIP_INDEX"); \
	POETRY_PYPI_MIRROR_URL=$${POETRY_PYPI_MIRROR_URL:-$$index} $(POETRY) install
	@touch $@

.poetry/bin/poetry:
	$(PYTHON) -m venv .poetry
	.poetry/bin/pip install --quiet poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5

# The index that pip would ask, from its environment, its configuration or by default.
export define PIP_INDEX
from pip._internal.commands import create_command
print(create_command("download").parse_args([])[0].index_url.rstrip("/") + "/")
endef
