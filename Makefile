# Everything goes through the environment that scripts/bootstrap.py makes; nothing outside this folder changes.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint serve dagster lock clean \
	bench-decode bench-ingest bench-simulate bench-features bench-assumptions bench-audit bench-backtest

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-24s %s\n", $$1, $$2 }'

setup: ## the virtual environment with the locked packages (made once)
	@$(PYTHON) scripts/bootstrap.py

demo: setup ## a simulated fleet from CAN logs to a ranked fleet, then served; ARGS=--no-serve ends by itself
	@$(BIN)/pm demo $(ARGS)

test: lint ## the checks and every test, on PostgreSQL and TimescaleDB; prints what was skipped and why
	$(BIN)/python -m pytest -ra -n 2 --dist loadfile $(ARGS)

lint: setup ## style, types and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: setup ## the prediction API and its pages
	@$(BIN)/pm serve $(ARGS)

dagster: setup ## the Dagster web UI
	@$(BIN)/pm dagster $(ARGS)

bench-decode: setup ## decoding speed beside other libraries, about ten minutes; ARGS="--tenth --rounds 1" for a look
	@$(BIN)/python -m benchmarks.decode $(ARGS)

bench-ingest: setup ## committed rows, reading back and bytes a value beside the plain ways, half an hour; ARGS="--tenth --rounds 1" for a look
	@$(BIN)/python -m benchmarks.ingest $(ARGS)

bench-simulate: setup ## values to log files beside cantools and python-can; ARGS="--tenth --rounds 1" for a look
	@$(BIN)/python -m benchmarks.simulate $(ARGS)

bench-features: setup ## feature vectors beside pandas and sktime; ARGS="--tenth --rounds 1" for a look
	@$(BIN)/python -m benchmarks.features $(ARGS)

bench-assumptions: setup ## the checks at the door: planted faults, false marks, seconds a fleet day
	@$(BIN)/python -m benchmarks.assumptions --planted --cost $(ARGS)

bench-audit: setup ## the leak audit on honest fleets and on planted leaks
	@$(BIN)/python -m benchmarks.audit $(ARGS)

bench-backtest: setup ## a backtest beside the bare fits inside it; ARGS="--tenth" for a look
	@$(BIN)/python -m benchmarks.backtest $(ARGS)

lock: ## requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml -q --universal --generate-hashes --no-strip-extras --no-annotate --no-header \
		--extra mdf --group dev --group bench --python-version 3.11 -o requirements.lock

clean: ## removes the environment and all caches; the data in .pm stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
