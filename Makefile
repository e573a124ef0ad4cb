# Each target does its own set-up in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test torture fuzz lint format bench golden dashboards clean
.DEFAULT_GOAL := test

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## a simulated fleet with the exporter on it, at a lively pace
	$(BIN)/codearts-build-exporter demo

test: $(VENV)/.dev  ## everything that can be shown here
	$(BIN)/pytest -n 2 $(ARGS)

torture: $(VENV)/.dev  ## kill, freeze and lie, 200 times; ARGS='--runs 10' for less
	$(BIN)/python -m tests.e2e.torture $(ARGS)

fuzz: $(VENV)/.dev  ## damaged answers and odd requests; ARGS='--runs 1000' for less
	$(BIN)/python -m tests.fuzz.payloads $(ARGS)
	$(BIN)/python -m tests.fuzz.requests $(ARGS)

lint: $(VENV)/.dev  ## format, lint, types, floors
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(VENV)/.dev $(VENV)/.run

bench: $(VENV)/.bench  ## the numbers in docs/performance.md; ARGS=store.measure runs one alone
	$(BIN)/python -m benchmarks $(ARGS)

golden: $(VENV)/.dev  ## rewrite the golden expositions and the PrometheusRule; review them as a diff
	GOLDEN=rewrite $(BIN)/pytest tests/test_golden.py tests/deploy/test_prometheus_operator.py

dashboards: $(VENV)/.dev  ## rewrite grafana/dashboards from grafana/generate; review them as a diff
	$(BIN)/python -m grafana.generate

clean:
	rm -rf $(VENV)
