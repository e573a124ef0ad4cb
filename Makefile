# Each target installs what it needs in .venv; files outside this folder are not changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Tests and the demo start many processes; without cached bytecode, each start takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lowest torture fuzz lint format bench golden chart dashboards reference screenshot lock dist bump sbom clean
.DEFAULT_GOAL := help

# The tests of `make lowest`: the demo, a command, the configuration, Redis, the web server, remote write.
LOWEST := tests/e2e/test_demo.py tests/cli/test_commands.py::TestCheckConfig tests/config/test_schema.py \
  tests/store/test_redis.py tests/web/test_routes.py tests/backfill/test_remote_write.py

help:  ## list the targets
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

demo: $(VENV)/.run  ## run the exporter with a simulated fleet; ARGS=--web.listen-address=:9000 changes the port
	$(BIN)/codearts-build-exporter demo $(ARGS)

test: $(VENV)/.dev  ## run all tests; ARGS=--hypothesis-profile=thorough tries more examples
	$(BIN)/pytest -n 6 --dist loadscope --no-loadscope-reorder $(ARGS)

# Only wheels, because an old source distribution may not build with current tools.
lowest: | $(BIN)/python  ## run some tests with the lowest versions of direct dependencies that pyproject.toml allows
	$(PIP) install 'uv>=0.9'
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/lowest
	$(BIN)/uv pip install --quiet --python $(VENV)/lowest --resolution lowest-direct \
	  --only-binary :all: --no-binary codearts-build-exporter '.[redis,remote-write]'
	$(BIN)/uv pip install --quiet --python $(VENV)/lowest hypothesis protobuf pytest pytest-timeout
	$(VENV)/lowest/bin/python -m pytest -W default $(LOWEST)

torture: $(VENV)/.dev  ## 200 runs with kills, freezes and wrong responses; ARGS='--runs 10' for fewer
	$(BIN)/python -m tests.e2e.torture $(ARGS)

fuzz: $(VENV)/.dev  ## parse damaged responses, send malformed requests; ARGS='--runs 1000' for fewer
	$(BIN)/python -m tests.fuzz.payloads $(ARGS)
	$(BIN)/python -m tests.fuzz.requests $(ARGS)

lint: $(VENV)/.dev  ## check formatting, lint, types, import contracts, known vulnerabilities
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.audit requirements-dev.lock $(AUDIT)

format: $(VENV)/.dev  ## apply automatic fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Plotting packages are installed by version range; everything that is measured stays locked.
$(VENV)/.bench: $(VENV)/.dev
	$(PIP) install --group bench
	@touch $@

bench: $(VENV)/.bench  ## measure the figures in docs/performance.md; ARGS=store.measure runs one benchmark
	$(BIN)/python -m benchmarks $(ARGS)

golden: $(VENV)/.dev  ## rewrite the golden files and the PrometheusRule; review the diff
	GOLDEN=rewrite $(BIN)/pytest tests/test_golden.py tests/deploy/test_prometheus_operator.py

chart: $(VENV)/.dev  ## render the manifests for kustomize from the Helm chart; needs helm
	$(BIN)/python -m tools.chart

dashboards: $(VENV)/.dev  ## generate grafana/dashboards from grafana/generate; review the diff
	$(BIN)/python -m grafana.generate

reference: $(VENV)/.dev  ## generate the reference pages and the JSON Schema in docs/; review the diff
	$(BIN)/python -m tools.reference

screenshot: $(VENV)/.dev  ## take the README's screenshot of the status page
	$(BIN)/python -m tests.support.screenshot docs/images/status.png

lock: | $(BIN)/python  ## update the lock files after a change in pyproject.toml; ARGS=--upgrade takes newer versions
	$(PIP) install 'uv>=0.9'
	$(LOCK) --extra redis --extra remote-write --output-file requirements.lock pyproject.toml
	$(LOCK) --extra redis --extra remote-write --group dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(LOCK) --group build --constraint requirements-dev.lock --output-file requirements-build.lock

dist: $(VENV)/.dev  ## build source distribution and wheel in dist/, reproducibly
	rm -f dist/*.whl dist/*.tar.gz
	SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 1580601600)} \
	  $(BIN)/python -m build --no-isolation

bump: $(VENV)/.dev  ## set the version everywhere, with ARGS=0.2.0, or the repository's URL in all links
	$(BIN)/python -m tools.bump $(ARGS)

sbom: $(VENV)/.dev  ## write the bill of materials of the package, dist/sbom.cdx.json (CycloneDX)
	$(BIN)/python -m tools.sbom requirements.lock dist/sbom.cdx.json

clean:  ## remove .venv
	rm -rf $(VENV)
