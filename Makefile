# Each target first installs what it needs: Poetry into .poetry/, and the packages of
# poetry.lock into .venv/. To use your own Poetry, run: make run POETRY=poetry
PYTHON ?= python3
PORT ?= 8000
MODEL ?=
PACKAGES ?=
GROUP ?=
POETRY ?= .poetry/bin/poetry

.PHONY: run test lint bench gpu-check add extras lock
# tools.prefetch downloads the model's weights. It prints "demo" where it cannot, and
# nothing where the model file finds its weights itself.
run: .venv/installed
	@model="$(MODEL)"; \
	[ -n "$$model" ] || [ ! -f tools/prefetch.py ] || \
	  model=$$($(POETRY) run python -m tools.prefetch) || exit; \
	[ -z "$$model" ] || export ENDPOINT_MODEL="$$model"; \
	exec $(POETRY) run flask run --port $(PORT)

# pytest prints the coverage report above its last line. After a swap, no minimum of
# coverage is set, because the tests do not run your model.
test: .venv/tested
	$(POETRY) run pytest --cov $(if $(wildcard demo),,--cov-fail-under=0)

lint: .venv/tested
	$(POETRY) run pre-commit run --all-files

# Add packages to pyproject.toml, poetry.lock and .venv/.
add: .venv/installed
	$(POETRY_WITH_INDEX) add $(PACKAGES)
	@touch $<

# Install a group of extras/pyproject.toml.
extras: .venv/installed
	$(EXTRAS) install --only $(GROUP)

# Lock again after a change of pyproject.toml or extras/pyproject.toml.
lock: .venv/installed
	$(POETRY_WITH_INDEX) lock
	$(python) extras/agree.py
	$(EXTRAS) lock

# Compare this endpoint with other servers. It takes two hours, and the results
# only count if nothing else runs on the machine.
bench: .bench/installed
	[ -d .bench/full ] || \
	  .bench/bin/python -m tests.support.random_checkpoint --full .bench/full
	.bench/bin/python -m benchmarks.run --checkpoint .bench/full
	.bench/bin/python -m benchmarks.run --checkpoint .bench/full --rounds 1 \
	  --servers ours litserve-bf16 bentoml-bf16 mosec-bf16 ray-bf16 \
	  --clients 1 4 16 64 256 --output benchmarks/results/clients.json
	.bench/bin/python -m benchmarks.engine --checkpoint .bench/full
	.bench/bin/python -m benchmarks.command --checkpoint .bench/full
	.bench/bin/python -m benchmarks.start --checkpoint .bench/full
	.bench/bin/python -m benchmarks.exact --checkpoint .bench/full
	.bench/bin/python -m benchmarks.captions
	.bench/bin/python -m benchmarks.open_loop --checkpoint .bench/full
	.bench/bin/python -m benchmarks.floor
	.bench/bin/python -m benchmarks.report

# Check the GPU, its driver and torch, and time the model: the bundled one without MODEL.
gpu-check: .venv/installed
	@[ -z "$(MODEL)" ] || export ENDPOINT_MODEL="$(MODEL)"; \
	exec $(POETRY) run python -m tools.gpu_check

.venv/installed: poetry.lock $(filter .poetry/%,$(POETRY))
	$(POETRY) env use $(python)
	$(POETRY_WITH_INDEX) install --only main
	@touch $@

# The tests also run the page in a browser and, if these folders still exist, demo/,
# examples/ and deploy/. Each has a group of packages of the same name.
.venv/tested: .venv/installed extras/poetry.lock
	$(POETRY_WITH_INDEX) install
	$(EXTRAS) install $(addprefix --only=,browser $(wildcard demo examples deploy))
	@touch $@

# The plugin poetry-plugin-pypi-mirror makes Poetry use pip's index, which may be a
# company's mirror or an index that has only HTML pages.
POETRY_WITH_INDEX = \
	index=$$(PATH="$(CURDIR)/.poetry/bin:$$PATH" python3 -c "$$PIP_INDEX"); \
	POETRY_PYPI_MIRROR_URL=$${POETRY_PYPI_MIRROR_URL:-$$index} $(POETRY)

# The extras are a project of their own, which keeps `make add` fast. Poetry installs
# them into the active environment, but would ignore it within Conda's.
EXTRAS = export VIRTUAL_ENV=$(CURDIR)/.venv CONDA_DEFAULT_ENV=; \
	$(POETRY_WITH_INDEX) --directory extras

# The other servers have their own environment, which changes nothing in .venv/. It
# borrows torch and transformers from there.
.bench/installed: .venv/installed benchmarks/requirements.txt
	.venv/bin/python -m venv .bench
	ls -d $(CURDIR)/.venv/lib/*/site-packages >$$(ls -d .bench/lib/*/site-packages)/ours.pth
	.bench/bin/pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@

# The version of Poetry that wrote poetry.lock.
.poetry/bin/poetry:
	$(python) -m venv .poetry
	.poetry/bin/pip install --quiet poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5

ifeq ($(filter add,$(MAKECMDGOALS))$(PACKAGES),add)
$(error Name the packages to add: make add PACKAGES="timm einops")
endif
ifeq ($(filter extras,$(MAKECMDGOALS))$(GROUP),extras)
$(error Name a group of extras/pyproject.toml: make extras GROUP=examples)
endif

# pip's index: from the environment, from pip's configuration, or the default one.
export define PIP_INDEX
from pip._internal.commands import create_command
print(create_command("download").parse_args([])[0].index_url.rstrip("/") + "/")
endef

# The Python to install with: the one in use, or else the first supported one of these.
PYTHONS := $(if $(wildcard .venv/installed),.venv/bin/python) $(PYTHON) \
  python3.13 python3.12 python3.11 python3.14
supported = import sys; v = sys.version_info[:3]; \
  sys.exit(not ((3, 11) <= v < (3, 15) and v != (3, 14, 1)))
version = import platform; print("is Python", platform.python_version())
python := $(shell for python in $(PYTHONS); do \
  $$python -c '$(supported)' 2>/dev/null && echo $$python && break; done)

ifeq ($(python),)
found := $(shell $(PYTHON) -c '$(version)' 2>/dev/null || echo was not found)
$(shell echo "Python 3.11 to 3.14 (except 3.14.1) is needed, but $(PYTHON) $(found): \
  install python3.13, for example, or name a supported one with \`make \
  $(or $(MAKECMDGOALS),run) PYTHON=/path/to/python3.13\`." >&2)
# With --question, make runs nothing and ends with status 1. It adds no message.
MAKEFLAGS += --question
else ifeq ($(filter $(PYTHON) .venv/bin/python,$(python)),)
$(info $(PYTHON) is not supported, so $(python) is used.)
endif
