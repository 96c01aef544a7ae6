# `make demo` and `make test` do their whole set-up; the other targets build on the same environments.
# A name or a path, which may have spaces in it. Commands of the environments are run as `python -m …`: the
# scripts beside that Python name it in their first line, which many systems cut at 127 characters.
PYTHON ?= python3
DEMO_ARGS ?=
PYTEST_ARGS ?=
FUZZ_EXAMPLES ?= 100
SMOKE_ARGS ?=
SCREENSHOTS_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-pages test-export test-training lint format faults fuzz bench gpu compose-smoke lock vendor screenshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# An environment is complete when its stamp is newer than its lock file.
.venv-demo/.installed: requirements/server.txt pyproject.toml
	"$(PYTHON)" -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/server.txt
	.venv-demo/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.installed: requirements/dev.txt pyproject.toml
	"$(PYTHON)" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv-export/.installed: requirements/export.txt pyproject.toml
	"$(PYTHON)" -m venv .venv-export
	.venv-export/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/export.txt
	.venv-export/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The inference server that tests start; apart, because its wheel wants an older numpy. It is used with
# Python 3.11 alone, which its wheel was made for: with another the tests that need it skip, and say so.
.venv-triton/.installed: requirements/triton.txt
	@if "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
	    set -ex; \
	    "$(PYTHON)" -m venv .venv-triton; \
	    .venv-triton/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/triton.txt; \
	else \
	    mkdir -p .venv-triton; echo "tests of the inference server skip: its wheel is for Python 3.11, not for $$("$(PYTHON)" --version)"; \
	fi
	@touch $@

.venv-training/.installed: requirements/training.txt pyproject.toml
	"$(PYTHON)" -m venv .venv-training
	.venv-training/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/training.txt
	.venv-training/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv-demo/.installed ## curate the shipped scenes with the shipped encoder, in one process (DEMO_ARGS=--once to exit after the table)
	.venv-demo/bin/python -m cocu demo $(DEMO_ARGS)

test: .venv/.installed .venv-triton/.installed lint ## lint, types, import rules and every test that is not slow
	.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow" $(PYTEST_ARGS)

test-slow: .venv/.installed .venv-triton/.installed ## the tests that `make test` leaves out since they take long: most faults, variants of the rest
	.venv/bin/python -m pytest -n 2 --dist loadfile -m slow $(PYTEST_ARGS)

lint: .venv/.installed ## ruff, mypy (strict) and the one-way imports
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy
	.venv/bin/python -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

format: .venv/.installed ## rewrite the code as ruff formats it
	.venv/bin/python -m ruff format .
	.venv/bin/python -m ruff check --fix .

test-pages: .venv/.installed ## the tests of the pages, axe in every theme at every width (needs chromium)
	COCU_TEST_PAGES=all .venv/bin/python -m pytest tests/dashboard $(PYTEST_ARGS)

test-export: .venv-export/.installed ## the export from open_clip and the CUDA tiles, with torch (several GB)
	.venv-export/bin/python -m pytest tests/encoders/test_export.py tests/neighbours/test_exact_cuda.py $(PYTEST_ARGS)

test-training: .venv-training/.installed ## the training service: types, model, losses, evaluation, loop, with torch (several GB)
	.venv-training/bin/python -m mypy -p cocu_training -p scenes_encoder
	.venv-training/bin/python -m pytest tests/training $(PYTEST_ARGS)

faults: .venv/.installed .venv-triton/.installed ## every fault in full: 50 kills in one run, ten disturbances of every server, the heaviest loads
	COCU_TEST_KILLS=50 COCU_TEST_DISTURBANCES=10 COCU_HEAVY=1 .venv/bin/python -m pytest tests/faults $(PYTEST_ARGS)

fuzz: .venv/.installed ## hold a platform against its OpenAPI document, with FUZZ_EXAMPLES examples of every operation
	COCU_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) .venv/bin/python -m pytest tests/fuzz $(PYTEST_ARGS)

bench: .venv/.installed ## every benchmark; each ends with one JSON line
	.venv/bin/python -m benchmarks

gpu: .venv-training/.installed ## what needs a GPU: training (images/s, utilisation, memory) and exact neighbours of 2.75 million rows; nothing where there is none
	.venv-training/bin/python -m benchmarks _gpu

compose-smoke: ## build the images and curate the scenes through the composed platform; needs Docker (SMOKE_ARGS=--keep keeps the images)
	"$(PYTHON)" deploy/smoke/smoke.py $(SMOKE_ARGS)

screenshots: .venv/.installed ## pictures of every page into screenshots/ (SCREENSHOTS_ARGS=--docs makes those of the README too)
	.venv/bin/python -m benchmarks.screenshots $(SCREENSHOTS_ARGS)

lock: ## resolve the lock files anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group build --extra server -o requirements/server.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group build --extra dev -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group build --extra dev --extra export -o requirements/export.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --group build --extra training-dev -o requirements/training.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -c requirements/training.txt pyproject.toml --group build --extra training -o requirements/trainer.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/triton.in -o requirements/triton.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -c requirements/triton.txt deploy/triton/requirements.in -o deploy/triton/requirements.txt

vendor: ## fetch what the pages ship of other projects anew, by the table beside it (needs npm)
	"$(PYTHON)" deploy/vendor.py

clean: ## remove the environments and what tests left
	rm -rf .venv .venv-demo .venv-export .venv-triton .venv-training .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .cocu
