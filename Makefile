# `make` with no target lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CLUSTER ?= auto
export PYTHONPATH := operator:worker-image/src
# Tests start hundreds of Python processes: each would compile the project's modules again.
unexport PYTHONDONTWRITEBYTECODE

# How many tests run at once: more than there are cores, because tests on real parts mostly wait.
WORKERS ?= 5

VENV   := .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.ready
PYTEST := $(PYTHON) -m pytest --dist loadgroup --no-loadscope-reorder

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements/dev.txt
	@python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { echo >&2 \
	    'Python 3.11 or newer is needed, with venv: apt-get install python3-venv, or https://www.python.org'; exit 1; }
	@python3 -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

venv: $(READY) ## Make the virtual environment, with pinned versions.

demo: $(READY) ## The whole path on a real cluster: 0 -> N -> 0. KEEP=1 leaves it running.
	@$(PYTHON) -m tests.demo $(if $(KEEP),--keep)

test: $(READY) ## Everything: unit, integration and end to end, on real parts. WORKERS=5 is how many tests run at once
	@$(PYTEST) -n $(WORKERS) tests/unit tests/integration tests/e2e

test-fast: $(READY) ## The unit tests that take no time, on every save: half a minute.
	@$(PYTEST) -q -n auto -m "not slow" tests/unit

test-unit: $(READY) ## All unit tests: the pure rooms and virtual time, in two minutes.
	@$(PYTEST) -q -n auto tests/unit

test-deep: $(READY) ## As test, with more examples and repeated faults.
	@TASKQUEUE_DEEP=1 $(PYTEST) -n $(WORKERS) tests/unit tests/integration tests/e2e

check: $(READY) ## Format, lint, types, house rules, generated files, retired words.
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(PYTHON) -m tests.generated --check
	@$(PYTHON) -m tests.words

fmt: $(READY) ## Format and mend what ruff can.
	@$(VENV)/bin/ruff format --quiet .
	@$(VENV)/bin/ruff check --fix --quiet .

crds: $(READY) ## Write crds/ and the chart's copy from the models.
	@$(PYTHON) -m tests.generated

approve: $(READY) ## Renew the approved messages of the product from what it says now; read the diff.
	@TASKQUEUE_APPROVE=1 $(PYTHON) -m pytest -q tests/unit

image: $(READY) ## Build the operator, worker and sample images for the chosen cluster.
	@$(PYTHON) -m tests.cluster images

cluster-up: $(READY) ## A real cluster with RabbitMQ. CLUSTER=auto|local|kind|existing
	@$(PYTHON) -m tests.cluster up

cluster-down: $(READY) ## Remove it and everything it left.
	@$(PYTHON) -m tests.cluster down

bench: $(READY) ## Figures on the real cluster, and their targets. NAME=<one> JSON=<file> SIZE=<1000 is all of it>
	@$(PYTHON) -m tests.bench $(if $(NAME),--name $(NAME)) $(if $(JSON),--json $(JSON)) $(if $(SIZE),--size $(SIZE))

pin: $(READY) ## Renew the pinned versions from the .in files.
	@for f in requirements/operator worker-image/requirements requirements/dev tests/integration/celery/celery-5.{4,7} \
	        tests/integration/adapters/{dramatiq-2.2,faststream-0.{6,7},pika-1.{3,4},taskiq-0.12} \
	        tests/integration/conformance/node tests/integration/worker/web; do \
	    $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url \
	        --generate-hashes $$f.in -o $$f.txt; done

.PHONY: help venv demo test test-fast test-unit test-deep check fmt crds approve image cluster-up cluster-down bench pin
