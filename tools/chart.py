"""Render the files for kustomize from the Helm chart: `python -m tools.chart`, or `make chart`.

They are the chart's output without the labels of a Helm release, because kustomize's users have selectors
without them, which cannot change. kustomize itself adds the version of the image, and the hash of the
configuration to its name. ``kustomization.yaml`` is written by hand. So is the head of the PrometheusRule,
whose rules `make golden` copies with their comments.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm"
KUBERNETES = ROOT / "deploy" / "kubernetes"
RELEASE = "codearts-build-exporter"
MONITOR = "overlays/prometheus-operator/servicemonitor.yaml"
BASE = ("networkpolicy", "poddisruptionbudget", "service", "serviceaccount", "statefulset")

_SOURCE = re.compile(r"^---\n# Source: [^/\n]+/templates/(\S+)\n", re.MULTILINE)
_OF_A_RELEASE = re.compile(
    r"^ *(?:app\.kubernetes\.io/(?:instance|version|managed-by)|helm\.sh/chart|checksum/config): .*\n",
    re.MULTILINE,
)
_TAG = re.compile(r"^( *image: [^\n:]+):\S+$", re.MULTILINE)


def rendered(helm: str, *flags: str) -> dict[str, str]:
    """Return the chart's manifests by the name of their template."""
    command = [helm, "template", RELEASE, str(CHART), *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    _, *parts = _SOURCE.split(result.stdout)
    return {name: text.rstrip("\n") + "\n" for name, text in zip(parts[::2], parts[1::2], strict=True)}


def without_release(manifest: str) -> str:
    """Remove from a manifest what only a Helm release has, and the version of the image."""
    return _TAG.sub(r"\1", _OF_A_RELEASE.sub("", manifest))


def kustomize_files(helm: str) -> Mapping[str, str]:
    """Return the files for kustomize by their path in ``deploy/kubernetes``."""
    manifests = rendered(helm)
    monitor = rendered(helm, "--set=serviceMonitor.enabled=true")["servicemonitor.yaml"]
    return {
        "base/config.yaml": yaml.safe_load(manifests["configmap.yaml"])["data"]["config.yaml"],
        **{f"base/{name}.yaml": without_release(manifests[f"{name}.yaml"]) for name in BASE},
        MONITOR: without_release(monitor),
    }


if __name__ == "__main__":
    beside = shutil.which("helm", path=Path(sys.executable).parent)
    for path, text in kustomize_files(shutil.which("helm") or beside or "helm").items():
        (KUBERNETES / path).write_text(text, encoding="utf-8")
