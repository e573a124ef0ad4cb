"""The Helm chart's manifests as ``helm template`` renders them."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from exporter.config import Config
from tests.support.deploy import YAML_LOADER, loaded
from tests.support.programs import program
from tools.chart import CHART, RELEASE

NAME = RELEASE
"""The name of all objects, in a release with the name of the chart."""
Values = dict[str, Any]
Objects = dict[tuple[str, str], dict[str, Any]]

EVERYTHING: Values = {
    "image": {"digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "shards": 3,
    "config": {"jobs": ["f9d6c8466d614a9788e9a0acf6c15f46"], "metrics": {"max_series": 1_000_000}},
    "auth": {"existingSecret": "huawei-cloud", "keys": {"securityToken": "security-token"}},
    "web": {"existingSecret": "web", "tls": True, "auth": True},
    "extraArgs": ["--log.format=json", "--web.enable-lifecycle"],
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}],
    "persistence": {"size": "10Gi", "storageClass": "ssd", "accessModes": ["ReadWriteOncePod"]},
    "podAnnotations": {"example.com/team": "builds"},
    "podLabels": {"team": "builds"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "ci", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "low",
    "serviceAccount": {"annotations": {"example.com/role": "reader"}},
    "networkPolicy": {
        "namespaces": ["monitoring", "123"],
        "extraIngress": [{"from": [{"podSelector": {}}]}],
        "extraEgress": [{"ports": [{"protocol": "TCP", "port": 6379}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "CodeArts"}},
}
NOTHING: Values = {
    "auth": {"type": "ecs_agency"},
    "persistence": {"enabled": False},
    "serviceAccount": {"create": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "resources": None,
    "podSecurityContext": None,
    "securityContext": None,
    "probes": {"startup": None, "liveness": None, "readiness": None},
}


def helm(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run helm, without the lines with which it mentions symbolic links."""
    command = [program("helm"), *arguments]
    result = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120, check=False)
    result.stderr = "\n".join(line for line in result.stderr.splitlines() if "symbolic link" not in line)
    return result


def template(
    values: Values | None = None, *, release: str = RELEASE, chart: Path = CHART
) -> subprocess.CompletedProcess[str]:
    """Run ``helm template`` with values on its standard input."""
    return helm("template", release, str(chart), "--values=-", given=json.dumps(values or {}))


def objects(values: Values | None = None, *, release: str = RELEASE, chart: Path = CHART) -> Objects:
    """Return the rendered objects by kind and name."""
    return _objects(json.dumps(values or {}), release, chart)


@cache
def _objects(values: str, release: str, chart: Path) -> Objects:
    result = template(json.loads(values), release=release, chart=chart)
    assert result.returncode == 0, result.stderr
    found = [manifest for manifest in yaml.load_all(result.stdout, YAML_LOADER) if manifest]
    named = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in found}
    assert len(named) == len(found)
    return named


def refusal(values: Values, *, release: str = RELEASE) -> str:
    """Return the error with which helm refuses the values."""
    result = template(values, release=release)
    assert result.returncode != 0, result.stdout
    return result.stderr


def stateful_set(values: Values | None = None, *, chart: Path = CHART) -> dict[str, Any]:
    """Return the specification of the StatefulSet."""
    found: dict[str, Any] = objects(values, chart=chart)["StatefulSet", NAME]["spec"]
    return found


def pod(values: Values | None = None) -> dict[str, Any]:
    """Return the specification of the pods."""
    found: dict[str, Any] = stateful_set(values)["template"]["spec"]
    return found


def container(values: Values | None = None) -> dict[str, Any]:
    """Return the only container of the pods."""
    found: dict[str, Any]
    [found] = pod(values)["containers"]
    return found


def config(values: Values, secrets: Path, **environ: str) -> Config:
    """Return the exporter's configuration as it reads it in a pod, with its secrets in another folder."""
    file = secrets / "config.yaml"
    file.write_text(objects(values)["ConfigMap", NAME]["data"]["config.yaml"])
    return loaded(file, secrets, **environ)
