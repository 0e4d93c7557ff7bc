# Each target sets up what it needs, with a Poetry of its own in .poetry/: the version
# that wrote the lock, and a plugin that lets it follow pip's index, be that a company's
# mirror or one that serves HTML only. Your own serves as well: make POETRY=poetry run
PYTHON ?= python3
PORT ?= 8000
MODEL ?=
POETRY ?= .poetry/bin/poetry

.PHONY: run test lint bench
run: .venv/installed
	@model="$(MODEL)"; \
	[ -n "$$model" ] || model=$$($(POETRY) run python -m tools.prefetch) || exit; \
	ENDPOINT_MODEL="$$model" exec $(POETRY) run flask run --port $(PORT)

test: .venv/tested
	$(POETRY) run pytest --cov

lint: .venv/tested
	$(POETRY) run pre-commit run --all-files

# This endpoint beside its peers: an hour and a half on a machine that is idle else.
bench: .bench/installed
	[ -d .bench/full ] || .bench/bin/python -m benchmarks.checkpoint --full .bench/full
	.bench/bin/python -m benchmarks.run --checkpoint .bench/full
	.bench/bin/python -m benchmarks.run --checkpoint .bench/full --rounds 1 \
	  --servers ours litserve-bf16 bentoml-bf16 mosec-bf16 ray-bf16 \
	  --clients 1 4 16 64 256 --output benchmarks/results/clients.json
	.bench/bin/python -m benchmarks.engine --checkpoint .bench/full
	.bench/bin/python -m benchmarks.command --checkpoint .bench/full
	.bench/bin/python -m benchmarks.start --checkpoint .bench/full
	.bench/bin/python -m benchmarks.exact --checkpoint .bench/full
	.bench/bin/python -m benchmarks.captions
	.bench/bin/python -m benchmarks.report

.venv/installed: poetry.lock $(filter .poetry/%,$(POETRY))
	$(POETRY) env use --quiet $(PYTHON)
	$(INSTALL) --only main
	@touch $@

# Tests also run the examples, the routes to production and the page in a browser.
.venv/tested: .venv/installed
	$(INSTALL) --with demo,examples,deploy,browser
	@touch $@

INSTALL = index=$$(PATH=.poetry/bin:$$PATH python3 -c "$$PIP_INDEX"); \
	POETRY_PYPI_MIRROR_URL=$${POETRY_PYPI_MIRROR_URL:-$$index} $(POETRY) install

# The peers live apart, so that they change nothing here; torch and transformers are ours.
.bench/installed: .venv/installed benchmarks/requirements.txt
	.venv/bin/python -m venv .bench
	ls -d $(CURDIR)/.venv/lib/*/site-packages >$$(ls -d .bench/lib/*/site-packages)/ours.pth
	.bench/bin/pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@

.poetry/bin/poetry:
	$(PYTHON) -m venv .poetry
	.poetry/bin/pip install --quiet poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5

# The index that pip would ask, from its environment, its configuration or by default.
export define PIP_INDEX
from pip._internal.commands import create_command
print(create_command("download").parse_args([])[0].index_url.rstrip("/") + "/")
endef
