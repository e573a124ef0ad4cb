"""Kubernetes manifests as ``kubectl kustomize`` builds them."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy import DEPLOY
from tests.support.programs import program

BASE = DEPLOY / "kubernetes" / "base"
OPERATOR = DEPLOY / "kubernetes" / "overlays" / "prometheus-operator"

Manifests = dict[str, dict[str, Any]]


def built(folder: Path) -> Manifests:
    """Build a kustomization and return its manifests by kind, one of each."""
    result = subprocess.run(
        [program("kubectl", installable=False), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    documents = list(yaml.safe_load_all(result.stdout))
    found: Manifests = {manifest["kind"]: manifest for manifest in documents}
    assert len(found) == len(documents)
    return found


def container(manifests: Manifests) -> dict[str, Any]:
    """Return the only container of the pods."""
    found: dict[str, Any]
    [found] = manifests["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    return found
