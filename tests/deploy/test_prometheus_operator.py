"""The overlay for the Prometheus operator. There is no schema for its kinds, so their keys are checked here.

``make golden`` copies the rules into the PrometheusRule.
"""

import os
from typing import Any

import pytest

from tests.support.deploy import ROOT, SCRAPE_JOB, document
from tests.support.kustomize import OPERATOR, Manifests, built

RULE = OPERATOR / "prometheusrule.yaml"
SOURCES = [ROOT / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
GROUPS = "groups:\n"
GROUP_KEYS = {"name", "interval", "limit", "labels", "query_offset", "rules"}
RULE_KEYS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}


@pytest.fixture(scope="module", name="overlay")
def _overlay() -> Manifests:
    return built(OPERATOR)


def copied_rules() -> str:
    """Return the expected PrometheusRule: its head, and the groups of the rule files with comments."""
    head, _, _ = RULE.read_text(encoding="utf-8").partition(f"  {GROUPS.rstrip()}")
    bodies = [source.read_text(encoding="utf-8").partition(f"\n{GROUPS}")[2] for source in SOURCES]
    assert all(bodies)
    lines = [f"  {line}".rstrip() for body in bodies for line in [*body.strip("\n").splitlines(), ""]]
    return f"{head}  {GROUPS}" + "\n".join(lines[:-1]) + "\n"


def test_the_prometheus_rule_has_the_rules_of_the_rule_files() -> None:
    missing = [source.name for source in SOURCES if not source.exists()]
    if missing:
        pytest.skip(f"missing in prometheus/: {', '.join(missing)}")
    expected = copied_rules()
    if os.environ.get("GOLDEN") == "rewrite":
        RULE.write_text(expected, encoding="utf-8")
    assert RULE.read_text(encoding="utf-8") == expected, "run `make golden`, which copies the rules"
    groups = [group for source in SOURCES for group in document(source)["groups"]]
    assert document(RULE)["spec"] == {"groups": groups}


def test_the_rules_have_only_keys_that_the_operator_knows(overlay: Manifests) -> None:
    rule = overlay["PrometheusRule"]
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"].keys() == {"groups"}
    names = [group["name"] for group in rule["spec"]["groups"]]
    assert len(names) == len(set(names))
    for group in rule["spec"]["groups"]:
        assert group.keys() <= GROUP_KEYS
        for entry in group["rules"]:
            assert entry.keys() <= RULE_KEYS
            assert isinstance(entry["expr"], str)
            assert ("record" in entry) != ("alert" in entry)


def endpoint(overlay: Manifests) -> dict[str, Any]:
    found: dict[str, Any]
    [found] = overlay["ServiceMonitor"]["spec"]["endpoints"]
    return found


def test_the_service_monitor_finds_the_service_and_its_port(overlay: Manifests) -> None:
    monitor, service = overlay["ServiceMonitor"], overlay["Service"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    labels = monitor["spec"]["selector"]["matchLabels"]
    assert labels.items() <= service["metadata"]["labels"].items()
    assert endpoint(overlay)["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint(overlay)["path"] == "/metrics"


def test_the_scrape_job_has_the_name_that_rules_use(overlay: Manifests) -> None:
    [relabeling] = endpoint(overlay)["relabelings"]
    assert relabeling == {"action": "replace", "targetLabel": "job", "replacement": SCRAPE_JOB}


def test_the_annotations_do_not_cause_a_second_scrape(overlay: Manifests) -> None:
    annotations = overlay["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]
    assert not [name for name in annotations if name.startswith("prometheus.io/")]
