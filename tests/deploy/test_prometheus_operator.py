"""The overlay for the Prometheus operator. Its kinds come with no schema, so their shape is checked here.

``make golden`` copies the rules into the PrometheusRule.
"""

import os
from typing import Any

import pytest
import yaml

from tests.support.deploy import ROOT, SCRAPE_JOB
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
    """The PrometheusRule as it should be: its head, and the groups of the rule files, comments included."""
    head, _, _ = RULE.read_text(encoding="utf-8").partition(f"  {GROUPS.rstrip()}")
    bodies = [source.read_text(encoding="utf-8").partition(f"\n{GROUPS}")[2] for source in SOURCES]
    assert all(bodies)
    lines = [f"  {line}".rstrip() for body in bodies for line in [*body.strip("\n").splitlines(), ""]]
    return f"{head}  {GROUPS}" + "\n".join(lines[:-1]) + "\n"


def test_the_prometheus_rule_holds_the_rules_of_prometheus() -> None:
    missing = [source.name for source in SOURCES if not source.exists()]
    if missing:
        pytest.skip(f"prometheus/ has no {' and no '.join(missing)}")
    wanted = copied_rules()
    if os.environ.get("GOLDEN") == "rewrite":
        RULE.write_text(wanted, encoding="utf-8")
    assert RULE.read_text(encoding="utf-8") == wanted, "make golden copies the rules"
    groups = [group for source in SOURCES for group in yaml.safe_load(source.read_text())["groups"]]
    assert yaml.safe_load(wanted)["spec"] == {"groups": groups}


def test_the_rules_have_the_shape_that_the_operator_knows(overlay: Manifests) -> None:
    rule = overlay["PrometheusRule"]
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert rule["spec"].keys() == {"groups"}
    names = [group["name"] for group in rule["spec"]["groups"]]
    assert len(names) == len(set(names))
    for group in rule["spec"]["groups"]:
        assert group.keys() <= GROUP_KEYS
        for one in group["rules"]:
            assert one.keys() <= RULE_KEYS
            assert isinstance(one["expr"], str)
            assert ("record" in one) != ("alert" in one)


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


def test_no_annotation_has_the_pods_scraped_twice(overlay: Manifests) -> None:
    annotations = overlay["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]
    assert not [name for name in annotations if name.startswith("prometheus.io/")]
