# Everything below prepares what it needs; `make help` lists it. PYTHON=/path/to/python3 picks an interpreter.

# Debian keeps dockerd, nft and others where not every shell looks.
export PATH := $(PATH):/usr/sbin:/sbin
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test test-fast lab check gen fmt lock wheels wheel bench clean
export PYTHON
# Tests start hundreds of Pythons: what one has compiled, the next ones read.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
UV ?= uv
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: ## bring up a node; Ctrl-C stops everything that it started
	@scripts/bootstrap run
	@$(BIN)/paradrop run --ensure-engine

test: ## run all tests: fast ones first, then with a real engine and, beside it, the radio lab and Envoy
	@scripts/bootstrap dev
	@$(BIN)/python scripts/test_tools.py
	@$(BIN)/pytest -n 2 $(ARGS)

test-fast: ## run the tests that need neither Envoy nor an engine (about two minutes on two idle cores)
	@scripts/bootstrap dev
	@$(BIN)/pytest -n $$((2 * $$(nproc))) -m "not thorough and not gateway and not engine and not e2e and not lab" \
		--hypothesis-profile=fast --ignore=tests/e2e --ignore=tests/lab $(ARGS)

lab: ## boot a node with simulated radios and two roaming clients to play with
	@scripts/bootstrap dev
	@PYTHONPATH=.:build/gen $(BIN)/python -m tests.lab

check: ## check style, types, import rules, protos
	@scripts/bootstrap dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_protos.py

gen: ## generate code from the protos into build/gen
	@scripts/bootstrap run

fmt: ## format the code and repair what can be repaired
	@scripts/bootstrap dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## pin all dependencies anew (needs uv)
	$(COMPILE) --group build -o requirements/run.lock
	$(COMPILE) --group dev -c requirements/run.lock -o requirements/dev.lock

wheels: ## fetch the locked wheels, so that docker-compose can build its image without a network
	@scripts/bootstrap run
	$(BIN)/pip download --quiet --no-deps --require-hashes -r requirements/run.lock -d build/wheels

wheel: ## put the package for routers into dist/
	@scripts/bootstrap run
	$(BIN)/python -m pip wheel --quiet --no-deps --no-index --no-build-isolation -w dist .

bench: ## measure beside the baseline, and print ratios
	@scripts/bootstrap dev
	$(BIN)/python -m benchmarks

clean: ## remove everything that was generated or installed here
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find services gateway tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
