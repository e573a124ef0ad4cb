"""The manifests, built by kustomize, are valid by Kubernetes' schemas and consistent."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from tests.support.deploy import (
    IMAGE,
    PORT,
    ROOT,
    USER,
    YAML_LOADER,
    document,
    loaded,
    unknown_flags,
)
from tests.support.kustomize import BASE, OPERATOR, VERSIONS, Manifests, built, container, validate
from tests.support.programs import program
from tools.chart import BASE as FROM_CHART
from tools.chart import KUBERNETES, MONITOR, kustomize_files, rendered, without_release

RENDERED = ["base/config.yaml", *(f"base/{name}.yaml" for name in FROM_CHART), MONITOR]
LABELS = {"app.kubernetes.io/name": "codearts-build-exporter"}
KINDS = {
    "ConfigMap",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
    "StatefulSet",
}


@pytest.fixture(scope="module", name="base")
def _base() -> Manifests:
    return built(BASE)


def pod(base: Manifests) -> dict[str, Any]:
    found: dict[str, Any] = base["StatefulSet"]["spec"]["template"]["spec"]
    return found


def test_the_kustomization_lists_exactly_the_files_of_its_folder() -> None:
    named = document(BASE / "kustomization.yaml")
    files = {*named["resources"], *named["configMapGenerator"][0]["files"], "kustomization.yaml"}
    assert files == {file.name for file in BASE.iterdir()}


@pytest.mark.parametrize("version", ["1.27", VERSIONS[-1]])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_manifest_is_valid_by_its_schema(base: Manifests, kind: str, version: str) -> None:
    assert base.keys() == KINDS
    validate(base[kind], version)


def shards(manifests: Manifests) -> tuple[int, str]:
    """Return the number of pods, and the flag that passes it to them."""
    [flag] = [flag for flag in container(manifests)["args"] if flag.startswith("--total-shards")]
    return manifests["StatefulSet"]["spec"]["replicas"], flag


def test_there_are_as_many_shards_as_replicas(base: Manifests) -> None:
    assert shards(base) == (1, "--total-shards=1")


def test_one_number_changes_replicas_and_shards(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    file = tmp_path / "base" / "kustomization.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count("count: 1") == 1
    file.write_text(text.replace("count: 1", "count: 5"))
    assert shards(built(tmp_path / "base")) == (5, "--total-shards=5")


def test_the_file_agrees_with_the_output_of_kustomize(base: Manifests) -> None:
    assert shards({"StatefulSet": document(BASE / "statefulset.yaml")}) == shards(base)


@pytest.mark.parametrize("path", RENDERED)
def test_each_file_is_rendered_from_the_chart(path: str) -> None:
    files = kustomize_files(program("helm"))
    assert files.keys() == set(RENDERED)
    assert (KUBERNETES / path).read_text(encoding="utf-8") == files[path], "run `make chart`"


@pytest.mark.parametrize(
    ("folder", "flags"),
    [(BASE, []), (OPERATOR, ["--set=serviceMonitor.enabled=true,prometheusRule.enabled=true"])],
    ids=["base", "overlay"],
)
def test_kustomize_builds_what_the_chart_renders(folder: Path, flags: list[str]) -> None:
    expected: Manifests = {}
    for text in rendered(program("helm"), *flags).values():
        manifest = yaml.load(without_release(text), YAML_LOADER)
        expected[manifest["kind"]] = manifest
    found = built(folder)
    expected["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["image"] += f":{__version__}"
    name = found["ConfigMap"]["metadata"]["name"]  # ends in a hash of the content
    [config] = [
        v for v in expected["StatefulSet"]["spec"]["template"]["spec"]["volumes"] if v["name"] == "config"
    ]
    config["configMap"]["name"] = name
    expected["ConfigMap"]["metadata"] = {"name": name}
    assert found == expected


def test_the_configuration_is_mounted_where_the_exporter_expects_it(base: Manifests, tmp_path: Path) -> None:
    assert base["ConfigMap"]["data"].keys() == {"config.yaml"}
    [config] = [volume for volume in pod(base)["volumes"] if volume["name"] == "config"]
    assert config["configMap"]["name"] == base["ConfigMap"]["metadata"]["name"]
    paths = {mount["name"]: mount["mountPath"] for mount in container(base)["volumeMounts"]}
    assert f"--config.file={paths['config']}/config.yaml" in container(base)["args"]
    text = base["ConfigMap"]["data"]["config.yaml"]
    assert f"secret_key_file: {paths['secrets']}/secret-key\n" in text
    (tmp_path / "secret-key").write_text("made-up")
    read = loaded(BASE / "config.yaml", tmp_path, HUAWEICLOUD_SDK_AK="made-up")
    assert str(Path(str(read.state.path)).parent) == paths["state"]


def test_image_flags_and_shard_are_those_of_the_exporter(base: Manifests) -> None:
    exporter = container(base)
    assert exporter["image"] == f"registry.example.com/{IMAGE}"
    assert unknown_flags(exporter["args"]) == set()
    assert "--shard=$(POD_NAME)" in exporter["args"]
    [name] = [variable for variable in exporter["env"] if variable["name"] == "POD_NAME"]
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_pod_has_minimal_privileges(base: Manifests) -> None:
    assert pod(base)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(base)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(base)["automountServiceAccountToken"] is False
    assert base["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod(base)["serviceAccountName"] == base["ServiceAccount"]["metadata"]["name"]


def test_an_api_that_is_down_never_restarts_a_pod(base: Manifests) -> None:
    paths = {
        probe: container(base)[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/-/healthy",
        "livenessProbe": "/-/healthy",
        "readinessProbe": "/-/ready",
    }


def test_each_shard_is_scraped_before_it_is_ready(base: Manifests) -> None:
    service = base["Service"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    assert [entry["port"] for entry in service["ports"]] == [PORT]
    assert container(base)["ports"] == [{"name": "metrics", "containerPort": PORT}]
    assert base["StatefulSet"]["spec"]["serviceName"] == base["Service"]["metadata"]["name"]
    assert base["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(
        PORT
    )


def test_everything_selects_the_same_pods(base: Manifests) -> None:
    assert base["StatefulSet"]["spec"]["template"]["metadata"]["labels"] == LABELS
    assert base["Service"]["spec"]["selector"] == LABELS
    assert base["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": LABELS}
    for kind in ("StatefulSet", "PodDisruptionBudget"):
        assert base[kind]["spec"]["selector"] == {"matchLabels": LABELS}


def test_the_network_policy_allows_only_scrapes_dns_and_https(base: Manifests) -> None:
    policy = base["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    [scrapes] = policy["ingress"]
    assert scrapes["ports"] == [{"protocol": "TCP", "port": "metrics"}]
    assert scrapes["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    ]
    egress = {(entry["protocol"], entry["port"]) for rule in policy["egress"] for entry in rule["ports"]}
    assert egress == {("UDP", 53), ("TCP", 53), ("TCP", 443)}


def test_the_overlay_of_the_deployment_page_keeps_replicas_and_shards_equal(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    [overlay] = re.findall(r"^```yaml\n(# kustomization\.yaml\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shutil.copytree(BASE, tmp_path / "base")
    (tmp_path / "overlays" / "ours").mkdir(parents=True)
    (tmp_path / "overlays" / "ours" / "kustomization.yaml").write_text(overlay)
    assert shards(built(tmp_path / "overlays" / "ours")) == (3, "--total-shards=3")
