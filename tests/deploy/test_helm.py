"""The Helm chart: valid for every version of Kubernetes, upgradable, with the rules and dashboards."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from tests.support.deploy import ROOT, SCRAPE_JOB, document
from tests.support.helm import (
    EVERYTHING,
    NAME,
    NOTHING,
    Objects,
    Values,
    helm,
    objects,
    refusal,
    stateful_set,
    template,
)
from tests.support.kustomize import VERSIONS, validate
from tests.support.programs import run_program
from tools.chart import CHART

VALUES: Values = document(CHART / "values.yaml")
SCHEMA: Values = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES = [ROOT / "prometheus" / name for name in ("recording.yml", "alerts.yml")]
OPERATOR = {"ServiceMonitor", "PrometheusRule"}
SETTINGS = {"everything": EVERYTHING, "default": {}, "nothing": NOTHING}
OLDEST = document(CHART / "Chart.yaml")["kubeVersion"].removeprefix(">=").removesuffix(".0-0")


def test_the_version_of_the_chart_is_that_of_the_package() -> None:
    chart = document(CHART / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.parametrize("settings", SETTINGS)
def test_helm_lint_finds_nothing(settings: str) -> None:
    result = helm("lint", "--strict", str(CHART), "--values=-", given=json.dumps(SETTINGS[settings]))
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.findall(r"\[(?:WARNING|ERROR)\].*", result.stdout) == []


@pytest.fixture(scope="module")
def rendered() -> dict[str, Objects]:
    return {name: objects(values) for name, values in SETTINGS.items()}


@pytest.mark.parametrize("version", VERSIONS[VERSIONS.index(OLDEST) :])
def test_every_object_is_valid_by_the_schemas_of_kubernetes(
    rendered: dict[str, Objects], version: str
) -> None:
    for manifests in rendered.values():
        for (kind, _), manifest in manifests.items():
            if kind not in OPERATOR:
                validate(manifest, version)


def test_everything_can_be_switched_off(rendered: dict[str, Objects]) -> None:
    assert {kind for kind, _ in rendered["nothing"]} == {"ConfigMap", "Service", "StatefulSet"}
    switched_on = {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", *OPERATOR}
    assert {kind for kind, _ in rendered["everything"]} == {
        "ConfigMap",
        "Service",
        "StatefulSet",
    } | switched_on


def keys(values: Values, schema: Values, above: str = "") -> tuple[set[str], set[str]]:
    """Return the keys of values and of their schema, down to where one of them ends."""
    here = {f"{above}{key}" for key in values}, {f"{above}{key}" for key in schema["properties"]}
    for key, value in values.items():
        below = schema["properties"].get(key, {})
        if isinstance(value, dict) and "properties" in below and f"{above}{key}" != "config":
            found = keys(value, below, f"{above}{key}.")
            here = here[0] | found[0], here[1] | found[1]
    return here


def test_values_and_their_schema_have_the_same_keys() -> None:
    written, known = keys(VALUES, SCHEMA)
    assert known - written == {"global", "resources.claims"}
    assert written - known == set()


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"shard": 2}, "shard"),
        ({"shards": 0}, "shards"),
        ({"shards": "2"}, "shards"),
        ({"config": {"pol": {}}}, "pol"),
        ({"config": {"poll": {"interval": "1x"}}}, "interval"),
        ({"config": {"jobs": ["f9d6"]}}, "jobs"),
        ({"config": {"region": "moon-1"}}, "region"),
        ({"auth": {"type": "accessKey"}}, "type"),
        ({"auth": {"existingSecret": "Upper"}}, "existingSecret"),
        ({"fullnameOverride": "a" * 53}, "fullnameOverride"),
        ({"fullnameOverride": "1st"}, "fullnameOverride"),
        ({"podLabels": {"tier": 1}}, "tier"),
        ({"persistence": {"size": "1 GB"}}, "size"),
        ({"networkPolicy": {"namespaces": ["a b"]}}, "namespaces"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(values: Values, place: str) -> None:
    error = refusal(values)
    assert "schema" in error
    assert place in error


LONGEST = "r" * 53
"""Helm allows no longer name of a release."""


@pytest.mark.parametrize(
    "release", ["builds", "a.b", "y", NAME, f"x-{NAME}", LONGEST, f"{'r' * 28}-{'s' * 24}"]
)
def test_the_name_of_any_release_gives_valid_names(release: str) -> None:
    found = objects({"dashboards": {"enabled": True}}, release=release)
    [name] = [name for kind, name in found if kind == "StatefulSet"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 52
    if len(release) <= 28:
        assert release.replace(".", "-") in name
        assert NAME in name
    for manifest in found.values():
        assert manifest["metadata"]["name"].startswith(name)
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == release
        if manifest["kind"] not in OPERATOR:
            validate(manifest, VERSIONS[-1])


def test_a_release_whose_name_begins_with_a_digit_needs_another_name() -> None:
    assert "set fullnameOverride" in refusal({}, release="2024")
    [name] = [
        name for kind, name in objects({"fullnameOverride": "true"}, release="2024") if kind == "Service"
    ]
    assert name == "true"


def test_two_releases_in_one_namespace_do_not_meet() -> None:
    ours, theirs = objects(release="ours"), objects(release="theirs")
    assert ours.keys() & theirs.keys() == set()
    selectors = [
        manifest["spec"]["selector"]
        for found in (ours, theirs)
        for manifest in found.values()
        if manifest["kind"] == "Service"
    ]
    assert selectors[0] != selectors[1]


MUTABLE = {
    *("minReadySeconds", "ordinals", "persistentVolumeClaimRetentionPolicy", "replicas"),
    *("revisionHistoryLimit", "template", "updateStrategy"),
}
"""The fields of a StatefulSet that Kubernetes lets change."""


def of_another_version(folder: Path) -> Path:
    """Copy the chart, with the next version."""
    chart = Path(shutil.copytree(CHART, folder / "chart"))
    text = (chart / "Chart.yaml").read_text(encoding="utf-8")
    (chart / "Chart.yaml").write_text(re.sub(r"(?m)^((?:appV|v)ersion): .*", r"\1: 9.8.7", text))
    return chart


def test_an_upgrade_keeps_the_pods_volumes_and_changes_only_what_may_change(tmp_path: Path) -> None:
    before = stateful_set()
    after = stateful_set(
        EVERYTHING | {"persistence": VALUES["persistence"]}, chart=of_another_version(tmp_path)
    )
    assert "9.8.7" not in json.dumps({key: value for key, value in after.items() if key != "template"})
    assert after["template"] != before["template"]
    for key in (before.keys() | after.keys()) - MUTABLE:
        assert after.get(key) == before.get(key), key
    selected = before["selector"]["matchLabels"].items()
    assert selected <= after["template"]["metadata"]["labels"].items()
    assert [claim["metadata"] for claim in after["volumeClaimTemplates"]] == [{"name": "state"}]


def test_an_upgrade_to_another_version_changes_the_image(tmp_path: Path) -> None:
    pods = stateful_set(chart=of_another_version(tmp_path))["template"]["spec"]
    assert pods["containers"][0]["image"] == f"registry.example.com/{NAME}:9.8.7"


def test_a_packaged_chart_has_the_rules_and_dashboards(tmp_path: Path) -> None:
    result = helm("package", str(CHART), f"--destination={tmp_path}")
    assert result.returncode == 0, result.stderr
    packaged = tmp_path / f"{NAME}-{__version__}.tgz"
    assert objects(EVERYTHING, chart=packaged) == objects(EVERYTHING)


def test_the_dashboards_are_those_of_the_repository(rendered: dict[str, Objects]) -> None:
    found = rendered["everything"]
    for file in DASHBOARDS:
        manifest = found["ConfigMap", f"{NAME}-dashboard-{file.stem}"]
        text = file.read_text(encoding="utf-8")
        assert manifest["data"] == {f"codearts-build-{file.name}": text}
        assert manifest["metadata"]["namespace"] == "grafana"
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert manifest["metadata"]["annotations"] == {"grafana_folder": "CodeArts"}
        assert len(text.encode()) < 1_000_000  # the limit of a ConfigMap is 1 MiB
    assert len([name for kind, name in found if "-dashboard-" in name]) == len(DASHBOARDS) > 0


def rule_groups(values: Values) -> list[dict[str, Any]]:
    found = objects({"prometheusRule": {"enabled": True, **values}})
    groups: list[dict[str, Any]] = found["PrometheusRule", NAME]["spec"]["groups"]
    return groups


def test_the_rules_are_those_of_the_repository() -> None:
    assert rule_groups({}) == [group for file in RULES for group in document(file)["groups"]]


def test_alerts_can_be_left_out_and_have_other_severities() -> None:
    groups = rule_groups(
        {"disabled": ["CodeArtsBuildStuck"], "severities": {"CodeArtsBuildExporterDown": "warning"}}
    )
    alerts = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    names = {
        rule.get("alert") for file in RULES for group in document(file)["groups"] for rule in group["rules"]
    }
    assert names - alerts.keys() == {None, "CodeArtsBuildStuck"}
    assert alerts["CodeArtsBuildExporterDown"]["labels"]["severity"] == "warning"


@pytest.mark.parametrize("values", [{"disabled": ["Stuck"]}, {"severities": {"Stuck": "warning"}}])
def test_an_alert_that_does_not_exist_is_refused(values: Values) -> None:
    assert 'there is no alert "Stuck"' in refusal({"prometheusRule": {"enabled": True, **values}})


def test_rules_and_monitor_agree_about_the_name_of_the_scrape_job(tmp_path: Path) -> None:
    found = objects(EVERYTHING | {"scrapeJob": "ci builds"})
    [endpoint] = found["ServiceMonitor", NAME]["spec"]["endpoints"]
    assert endpoint["relabelings"] == [
        {"action": "replace", "targetLabel": "job", "replacement": "ci builds"}
    ]
    rules = yaml.safe_dump(found["PrometheusRule", NAME]["spec"])
    assert 'job="ci builds"' in rules
    assert f'job="{SCRAPE_JOB}"' not in rules
    file = tmp_path / "rules.yml"
    file.write_text(rules)
    run_program("promtool", "check", "rules", file)


def test_the_notes_name_the_secret_and_the_first_pod(tmp_path: Path) -> None:
    chart = Path(shutil.copytree(CHART, tmp_path / "chart"))
    included = '{{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}'
    (chart / "templates" / "notes.yaml").write_text(f"notes: {included}\n")
    notes = {}
    for name, values in SETTINGS.items():
        result = template(values, chart=chart)
        assert result.returncode == 0, result.stderr
        [notes[name]] = [part["notes"] for part in yaml.safe_load_all(result.stdout) if "notes" in part]
    assert (
        f"The Secret {NAME} has to be in the namespace default, with the keys access-key and secret-key."
        in (notes["default"])
    )
    assert "The Secret huawei-cloud has to be" in notes["everything"]
    assert "Secret" not in notes["nothing"]
    assert "Without a volume" in notes["nothing"]
    assert all(f"port-forward {NAME}-0 10088" in text for text in notes.values())
