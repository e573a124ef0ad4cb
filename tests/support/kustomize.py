"""Kubernetes manifests as ``kubectl kustomize`` builds them, and Kubernetes' schemas."""

import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.support.deploy import DEPLOY, YAML_LOADER
from tests.support.programs import program

BASE = DEPLOY / "kubernetes" / "base"
OPERATOR = DEPLOY / "kubernetes" / "overlays" / "prometheus-operator"

_SPEC = find_spec("kubernetes_validate")
assert _SPEC is not None
assert _SPEC.origin is not None
VERSIONS = sorted(
    {
        folder.name.removeprefix("v").rpartition(".0")[0]
        for folder in Path(_SPEC.origin).parent.glob("kubernetes-json-schema/v1.*")
    },
    key=lambda version: int(version.partition(".")[2]),
)
"""The versions of Kubernetes whose schemas are installed, from old to new."""

Manifests = dict[str, dict[str, Any]]


def built(folder: Path) -> Manifests:
    """Build a kustomization and return its manifests by kind, one of each."""
    result = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    documents = list(yaml.load_all(result.stdout, YAML_LOADER))
    found: Manifests = {manifest["kind"]: manifest for manifest in documents}
    assert len(found) == len(documents)
    return found


def validate(manifest: dict[str, Any], version: str) -> None:
    """Raise an error unless a manifest is valid by the schema of a version of Kubernetes, in strict mode."""
    import kubernetes_validate  # imports jsonschema, which takes seconds

    kubernetes_validate.validate(manifest, version, strict=True)


def container(manifests: Manifests) -> dict[str, Any]:
    """Return the only container of the pods."""
    found: dict[str, Any]
    [found] = manifests["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    return found
