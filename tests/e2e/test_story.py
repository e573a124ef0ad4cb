"""After a scenario with all events, each panel shows data, and rules and scrapes work without errors."""

import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.e2e.story import FORMS, PATIENCE_S, PrometheusWithRules, scenario
from tests.grafana.queries import VARIABLES, Query, panel_queries
from tests.support.programs import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

ZOOMED_IN: Final[Mapping[str, str]] = {**VARIABLES, "__rate_interval": "10s", "__interval": "2s"}
"""Roughly the values that Grafana uses for two minutes of samples, one every two seconds."""

EXPECTED_ALERTS: Final = {
    "CodeArtsBuildBuildsLost",
    "CodeArtsBuildFailingRepeatedly",
    "CodeArtsBuildSeriesCapped",
    "CodeArtsBuildStoreErrors",
    "CodeArtsBuildStuck",
}
"""Alerts that become pending in the scenario; each waits for minutes before it fires."""


@pytest.fixture(scope="module")
def observers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, PrometheusWithRules]]:
    with scenario(tmp_path_factory.mktemp("story")) as observers:
        yield observers


@pytest.fixture(scope="module", params=FORMS)
def prometheus(
    request: pytest.FixtureRequest, observers: Mapping[str, PrometheusWithRules]
) -> PrometheusWithRules:
    return observers[request.param]


def sum_of(sample: tuple[float, dict[str, str]]) -> tuple[float, str]:
    """Return the time of a native histogram, and its sum."""
    return sample[0], sample[1]["sum"]


def values(prometheus: PrometheusWithRules, query: Query) -> list[float]:
    """Return the values that a panel would draw for a query over the whole scenario."""
    now = time.time()
    if query.instant:
        found = prometheus.get("query", query=query.expression, time=str(now))["result"]
        samples = [series.get("value") or sum_of(series["histogram"]) for series in found]
    else:
        window = {"start": str(prometheus.began), "end": str(now), "step": ZOOMED_IN["__interval"]}
        found = prometheus.get("query_range", query=query.expression, **window)["result"]
        samples = [sample for series in found for sample in series.get("values", ())]
        samples += [sum_of(sample) for series in found for sample in series.get("histograms", ())]
    return [number for number in (float(value) for _, value in samples) if not math.isnan(number)]


def test_every_query_of_every_panel_has_data(prometheus: PrometheusWithRules) -> None:
    empty = [query for query in panel_queries(ZOOMED_IN) if not values(prometheus, query)]
    assert not empty, "\n".join(map(str, empty))


def rules(prometheus: PrometheusWithRules) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


def test_every_rule_is_healthy(prometheus: PrometheusWithRules) -> None:
    unhealthy = {rule["name"]: rule.get("lastError") for rule in rules(prometheus) if rule["health"] != "ok"}
    assert unhealthy == {}
    assert {rule["type"] for rule in rules(prometheus)} == {"alerting", "recording"}
    assert prometheus.query("sum(prometheus_rule_evaluation_failures_total)") == {(): 0}


def test_the_expected_alerts_are_pending(prometheus: PrometheusWithRules) -> None:
    def pending() -> set[str]:
        return {rule["name"] for rule in rules(prometheus) if rule["type"] == "alerting" and rule["alerts"]}

    eventually(lambda: pending() >= EXPECTED_ALERTS, PATIENCE_S)


def test_prometheus_logs_no_warnings(prometheus: PrometheusWithRules) -> None:
    lines = prometheus.log.read_text(encoding="utf-8").splitlines()
    assert lines
    warnings = [line for line in lines if re.search(r"level=(warn|error)", line, re.IGNORECASE)]
    assert not warnings, "\n".join(warnings)


@pytest.mark.parametrize(
    "counter",
    [
        "prometheus_target_scrapes_exemplar_out_of_order_total",
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_sample_out_of_bounds_total",
        "prometheus_target_scrapes_sample_out_of_order_total",
        "prometheus_tsdb_exemplar_out_of_order_exemplars_total",
    ],
)
def test_prometheus_rejects_no_sample(prometheus: PrometheusWithRules, counter: str) -> None:
    assert prometheus.query(f"sum({counter})") == {(): 0}


def test_exemplars_have_build_numbers(prometheus: PrometheusWithRules) -> None:
    found = prometheus.exemplars('codearts_build_builds_total{job_name="steady"}')
    assert {name for _, labels, _, _ in found for name in labels} == {"build_number"}


@pytest.mark.parametrize("recorded", ["avg1d", "count_increase1d"])
def test_recorded_durations_are_those_of_jobs_in_each_form(
    prometheus: PrometheusWithRules, recorded: str
) -> None:
    rule = f"project_job_name:codearts_build_duration_seconds:{recorded}"
    assert prometheus.has_data(f'{rule}{{project="shop", job_name="steady"}} > 0')
    assert not prometheus.has_data(f'{rule}{{job_name=""}}')


def test_the_queue_time_of_a_project_is_recorded_in_each_form(prometheus: PrometheusWithRules) -> None:
    assert prometheus.has_data('project:codearts_build_queue_duration_seconds:p90_rate1h{project="shop"} > 0')
