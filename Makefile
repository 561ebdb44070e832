# Everything that people do here; `make help` lists it.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := app tests migrations benchmarks scripts

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test check bench schema promise lock format

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: ## Install what a server needs into .venv, and build GraphiQL
	@$(PYTHON) scripts/install.py run --again

install-dev: ## Install what tests and checks need as well
	@$(PYTHON) scripts/install.py dev

run: ## Install, migrate the database and serve on http://127.0.0.1:8000
	@$(PYTHON) scripts/install.py run
	@exec $(BIN)/greenroom serve --migrate

test: install-dev ## Install and run all tests
	@$(BIN)/python -m pytest --cov --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
		$(PYTEST_ARGS)

check: install-dev ## Check style, types and the structure of the house
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-cache > .lint-imports.log 2>&1 || { cat .lint-imports.log; exit 1; }
	@rm -f .lint-imports.log

format: install-dev ## Put the code into its form
	$(BIN)/ruff check --fix --quiet --exit-zero $(SOURCES)
	$(BIN)/ruff format --quiet $(SOURCES)

bench: install-dev ## Measure against bare starts of the same interpreters
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

schema: install ## Write schema.graphql, .env.example and the README's table of settings anew
	@$(BIN)/python scripts/documents.py

promise: ## Take schema.graphql for what clients are promised from now on; for a release
	@cp schema.graphql schema.released.graphql

lock: install-dev ## Write the locks anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --no-strip-extras --generate-hashes --no-emit-index-url \
		--no-header --group build pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --no-strip-extras --generate-hashes --no-emit-index-url \
		--no-header --group build --group dev --constraint requirements.txt pyproject.toml \
		--output-file requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
		--no-header --group pyproject.toml:clang --output-file requirements-clang.txt
	@for each in $(basename $(notdir $(wildcard app/environments/*.in))); do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: \
			--generate-hashes --no-emit-index-url --no-header app/environments/$$each.in \
			--output-file app/environments/requirements-$$each.txt || exit 1; \
	done
