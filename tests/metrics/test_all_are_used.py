"""Dashboards and rules ask for metrics that exist, and leave none out.

That rules, runbooks and documents name only what exists is held by `tests/prometheus/test_rules.py` and
`tests/test_docs.py`; here it is the dashboards, and the other way round.
"""

import re
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.metrics import Kind
from tests.grafana.queries import dashboards, metrics, panel_queries, variable_queries
from tests.support.deploy import document
from tests.support.exposition import DECLARED

RULES: Final = Path(__file__).parents[2] / "prometheus"
OURS: Final = re.compile(r"(?<![:\w])codearts_build_\w+(?![:\w])")

SUFFIXES: Final = {
    Kind.GAUGE: ("",),
    Kind.COUNTER: ("", "_created"),
    Kind.HISTOGRAM: ("", "_bucket", "_sum", "_count", "_created"),
}
ORIGIN: Final = {
    (one.name.removesuffix("_total") if suffix == "_created" else one.name) + suffix: one.name
    for one in DECLARED
    for suffix in SUFFIXES[one.kind]
}
"""The names of all series, and the metrics they belong to."""

OF_EVERY_TARGET: Final = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "scrape_duration_seconds",
    "up",
}
"""From the Prometheus client library, and from Prometheus itself."""

OF_RULES: Final = {"ALERTS", "job_instance:codearts_build_scrape:up"}
"""From Prometheus with the rules."""

NOT_USED: Final = {
    "codearts_build_baseline_build_number": "`backfill` reads it: the past of a job ends there.",
}
"""Metrics that neither a dashboard nor a rule asks for, and why they are there all the same."""


def rule_expressions() -> list[str]:
    files: list[Any] = [document(file) for file in RULES.glob("*.yml")]
    groups = [group for content in files for group in content.get("groups", ())]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def asked_by_dashboards() -> set[str]:
    queries = [query.expression for query in panel_queries()]
    selectors = [selector for _, _, selector, _ in variable_queries()]
    return set().union(*map(metrics, (*queries, *selectors)))


@pytest.mark.parametrize("name", dashboards())
def test_dashboards_use_only_existing_metrics(name: str) -> None:
    named = set(OURS.findall(str(dashboards()[name])))
    assert named
    assert named - ORIGIN.keys() == set()


def test_dashboards_use_no_other_metrics() -> None:
    assert asked_by_dashboards() - ORIGIN.keys() == OF_EVERY_TARGET | OF_RULES


def test_every_metric_is_used_or_has_a_reason_not_to_be() -> None:
    asked = asked_by_dashboards().union(*map(OURS.findall, rule_expressions()))
    used = {ORIGIN[name] for name in asked if name in ORIGIN}
    assert {one.name for one in DECLARED} - used == NOT_USED.keys()
    assert all(reason.endswith(".") for reason in NOT_USED.values())
