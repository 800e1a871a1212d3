# Every target makes the environment it needs; only python3 (3.11 or newer) must be there.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test check check-format check-lint check-types check-imports check-pages format bench bench-gateway bench-peer docs accuracy changelog clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1	\2/p' $(MAKEFILE_LIST)

demo: $(VENV)/.base  ## plan two models on two supernodes
	$(BIN)/dougong plan deepseek-r1 --on cloudmatrix384 --prompt 4096 --output 256 --tpot 50ms
	$(BIN)/dougong plan kimi-k2 --on metax-c550-supernode --prompt 4096 --output 1024 --tpot 100ms

test: $(VENV)/.dev  ## run the tests
	$(BIN)/python -m pytest -n auto $(ARGS)

check: check-format check-lint check-types check-imports check-pages  ## format, lint, types, import contracts, generated pages

check-format: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet .

check-lint: $(VENV)/.dev
	$(BIN)/ruff check --output-format concise .

check-types: $(VENV)/.dev
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check-imports: $(VENV)/.dev
	$(BIN)/lint-imports --no-logo --no-cache

check-pages: $(VENV)/.dev
	$(BIN)/python docs/refresh.py --check
	$(BIN)/python docs/accuracy.py --check

format: $(VENV)/.dev  ## format and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## time ourselves: start-up, plans per second
	$(BIN)/python benchmarks/plan_speed.py $(ARGS)

bench-gateway: $(VENV)/.dev  ## the gateway beside a direct connection and LiteLLM's proxy, in an environment of its own (minutes)
	test -x .venv-litellm/bin/litellm || { $(PYTHON) -m venv .venv-litellm && .venv-litellm/bin/python -m pip install --quiet 'litellm[proxy]'; }
	$(BIN)/python benchmarks/gateway_overhead.py --peer .venv-litellm $(ARGS)

bench-peer: $(VENV)/.dev  ## the same beside aiconfigurator 0.12.0, in an environment of its own
	test -x .venv-peer/bin/aiconfigurator || { $(PYTHON) -m venv .venv-peer && .venv-peer/bin/python -m pip install --quiet aiconfigurator==0.12.0; }
	$(BIN)/python benchmarks/plan_speed.py --peer .venv-peer $(ARGS)

docs: $(VENV)/.dev  ## write the reference pages, the README's example and the guides' outputs anew
	$(BIN)/python docs/accuracy.py
	$(BIN)/python docs/refresh.py

accuracy: $(VENV)/.dev  ## fit and predict without each fold of FILES="…" (minutes), ask PEER=.venv-peer, draw the page
	$(BIN)/python docs/accuracy.py $(FILES) $(if $(PEER),--peer $(PEER))

changelog: $(VENV)/.dev  ## show what the fragments would say
	$(BIN)/towncrier build --draft --version next

clean:  ## remove the environment and caches
	rm -rf $(VENV) .venv-peer .venv-litellm build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml requirements/dev.txt | $(BIN)/python
	$(PIP) --constraint requirements/dev.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) --requirement requirements/dev.txt
	touch $@
