# Each target does its own set-up in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests and the demo start many processes: without cached bytecode each start takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lowest torture fuzz lint format bench golden dashboards reference screenshot lock dist sbom clean
.DEFAULT_GOAL := help

# What `make lowest` runs: the demo, a command, the configuration, Redis, the web server, remote write.
LOWEST := tests/e2e/test_demo.py tests/cli/test_commands.py::TestCheckConfig tests/config/test_schema.py \
  tests/store/test_redis.py tests/web/test_routes.py tests/backfill/test_remote_write.py

help:  ## this list
	@awk -F ':.*## *' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
  --custom-compile-command "make lock" $(ARGS)

$(VENV)/.run: pyproject.toml requirements.lock requirements-build.lock | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements.lock --requirement requirements-build.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The locked tools include the build backend.
$(VENV)/.dev: pyproject.toml requirements-dev.lock | $(BIN)/python
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run  ## a simulated fleet with the exporter on it, at a lively pace; ARGS=--web.listen-address=:9000 for another port
	$(BIN)/codearts-build-exporter demo $(ARGS)

test: $(VENV)/.dev  ## all tests; ARGS=--hypothesis-profile=thorough searches for longer
	$(BIN)/pytest -n 4 --dist loadscope --no-loadscope-reorder $(ARGS)

# Only wheels: an old source distribution may no longer build with today's tools.
lowest: | $(BIN)/python  ## a short test with the lowest versions of direct dependencies that pyproject.toml allows
	$(PIP) install 'uv>=0.9'
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/lowest
	$(BIN)/uv pip install --quiet --python $(VENV)/lowest --resolution lowest-direct \
	  --only-binary :all: --no-binary codearts-build-exporter '.[redis,remote-write]'
	$(BIN)/uv pip install --quiet --python $(VENV)/lowest hypothesis pytest pytest-timeout
	$(VENV)/lowest/bin/python -m pytest -W default $(LOWEST)

torture: $(VENV)/.dev  ## kill, freeze and lie, 200 times; ARGS='--runs 10' for less
	$(BIN)/python -m tests.e2e.torture $(ARGS)

fuzz: $(VENV)/.dev  ## damaged answers and odd requests; ARGS='--runs 1000' for less
	$(BIN)/python -m tests.fuzz.payloads $(ARGS)
	$(BIN)/python -m tests.fuzz.requests $(ARGS)

lint: $(VENV)/.dev  ## format, lint, types, floors, known vulnerabilities
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.audit requirements-dev.lock $(AUDIT)

format: $(VENV)/.dev  ## correct what ruff can correct by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# What draws the charts comes by its range; what is measured stays as locked.
$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install --no-build-isolation --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench  ## the numbers in docs/performance.md; ARGS=store.measure runs one alone
	$(BIN)/python -m benchmarks $(ARGS)

golden: $(VENV)/.dev  ## rewrite the golden expositions and the PrometheusRule; review them as a diff
	GOLDEN=rewrite $(BIN)/pytest tests/test_golden.py tests/deploy/test_prometheus_operator.py

dashboards: $(VENV)/.dev  ## rewrite grafana/dashboards from grafana/generate; review them as a diff
	$(BIN)/python -m grafana.generate

reference: $(VENV)/.dev  ## rewrite the pages and the schema that come from the code; review them as a diff
	$(BIN)/python -m tools.reference

screenshot: $(VENV)/.dev  ## take the picture of the status page in the README again
	$(BIN)/python -m tests.support.screenshot docs/images/status.png

lock: | $(BIN)/python  ## write the locks again for pyproject.toml; ARGS=--upgrade takes newer versions as well
	$(PIP) install 'uv>=0.9'
	$(LOCK) --extra redis --extra remote-write --output-file requirements.lock pyproject.toml
	$(LOCK) --extra dev --group build --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --group build --constraint requirements-dev.lock --output-file requirements-build.lock

dist: $(VENV)/.dev  ## source distribution and wheel in dist/: the same bytes whenever and wherever they are made
	rm -f dist/*.whl dist/*.tar.gz
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 1580601600)} \
	  $(BIN)/python -m build --no-isolation

sbom: $(VENV)/.dev  ## what a user installs with the package, as CycloneDX: dist/sbom.cdx.json
	$(BIN)/python -m tools.sbom requirements.lock dist/sbom.cdx.json

clean:  ## remove .venv
	rm -rf $(VENV)
