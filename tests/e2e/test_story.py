"""In a run that has everything, each panel shows data, each rule is well, and Prometheus is content."""

import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from tests.e2e.story import PATIENCE_S, Watcher, told
from tests.grafana.queries import VARIABLES, Query, panel_queries
from tests.support.programs import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

ZOOMED_IN: Final[Mapping[str, str]] = {**VARIABLES, "__rate_interval": "10s", "__interval": "2s"}
"""As Grafana sets them for a minute or two that were scraped each second, a little generously."""

NOTICED: Final = {
    "CodeArtsBuildBuildsLost",
    "CodeArtsBuildFailingRepeatedly",
    "CodeArtsBuildSeriesCapped",
    "CodeArtsBuildStoreErrors",
    "CodeArtsBuildStuck",
}
"""Alerts that the story gives a reason for; each waits for minutes before it fires."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    with told(tmp_path_factory.mktemp("story")) as asked:
        yield asked


def values(asked: Watcher, query: Query) -> list[float]:
    """All that a panel would draw of a query over the whole run."""
    now = time.time()
    if query.instant:
        found = asked.get("query", query=query.expression, time=str(now))["result"]
        samples = [one["value"] for one in found]
    else:
        window = {"start": str(asked.began), "end": str(now), "step": ZOOMED_IN["__interval"]}
        found = asked.get("query_range", query=query.expression, **window)["result"]
        samples = [sample for one in found for sample in one["values"]]
    return [number for number in (float(value) for _, value in samples) if not math.isnan(number)]


def test_every_query_of_every_panel_yields_data(asked: Watcher) -> None:
    silent = [query for query in panel_queries(ZOOMED_IN) if not values(asked, query)]
    assert not silent, "\n".join(map(str, silent))


def rules(asked: Watcher) -> list[dict[str, Any]]:
    return [rule for group in asked.get("rules")["groups"] for rule in group["rules"]]


def test_every_rule_is_well(asked: Watcher) -> None:
    ill = {rule["name"]: rule.get("lastError") for rule in rules(asked) if rule["health"] != "ok"}
    assert ill == {}
    assert {rule["type"] for rule in rules(asked)} == {"alerting", "recording"}
    assert asked.query("sum(prometheus_rule_evaluation_failures_total)") == {(): 0}


def test_the_alerts_notice_the_story(asked: Watcher) -> None:
    def noticed() -> set[str]:
        return {rule["name"] for rule in rules(asked) if rule["type"] == "alerting" and rule["alerts"]}

    eventually(lambda: noticed() >= NOTICED, PATIENCE_S)


def test_prometheus_has_no_complaint(asked: Watcher) -> None:
    lines = asked.log.read_text(encoding="utf-8").splitlines()
    assert lines
    complaints = [line for line in lines if re.search(r"level=(warn|error)", line, re.IGNORECASE)]
    assert not complaints, "\n".join(complaints)


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
def test_prometheus_has_turned_no_sample_away(asked: Watcher, counter: str) -> None:
    assert asked.query(f"sum({counter})") == {(): 0}


def test_exemplars_lead_to_builds(asked: Watcher) -> None:
    found = asked.exemplars('codearts_build_duration_seconds_bucket{job_name="steady"}')
    assert {name for _, labels, _, _ in found for name in labels} == {"build_number"}
