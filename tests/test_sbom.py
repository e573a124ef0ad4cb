"""The bill of materials is valid, reproducible and complete, with the dependency graph."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter import __version__
from tests.test_locks import RUNTIME, dependencies, pins
from tools.sbom import main, required_by

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        main(RUNTIME, str(file))
    return file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bom(text: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(text)
    return whole


def test_it_is_valid_by_the_schema_of_cyclonedx(text: str, bom: dict[str, Any]) -> None:
    # Imports jsonschema, which takes seconds.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(bom["specVersion"])
    assert JsonStrictValidator(version).validate_str(text) is None


def test_it_lists_the_locked_packages_with_hashes(bom: dict[str, Any]) -> None:
    listed = {
        component["name"]: (
            component["version"],
            {f"sha256:{entry['content']}" for entry in hashes(component)},
        )
        for component in bom["components"]
    }
    assert listed == {pin.name: (str(pin.version), set(pin.hashes)) for pin in pins(RUNTIME)}


def hashes(component: dict[str, Any]) -> list[dict[str, str]]:
    return [entry for reference in component["externalReferences"] for entry in reference["hashes"]]


def test_the_package_has_its_version_and_the_dependencies_of_pyproject(bom: dict[str, Any]) -> None:
    package = bom["metadata"]["component"]
    assert package["purl"] == f"pkg:pypi/codearts-build-exporter@{__version__}"
    [needs] = [part["dependsOn"] for part in bom["dependencies"] if part["ref"] == package["bom-ref"]]
    wanted = {requirement.name.lower() for requirement in dependencies(RUNTIME)}
    assert {reference.split("/")[1].split("@")[0] for reference in needs} == wanted


def test_every_dependency_is_needed_by_another_package(bom: dict[str, Any]) -> None:
    needed = {reference for part in bom["dependencies"] for reference in part["dependsOn"]}
    assert needed == {component["bom-ref"] for component in bom["components"]}


def test_it_has_no_timestamp_and_no_serial_number(bom: dict[str, Any]) -> None:
    assert "serialNumber" not in bom
    assert "timestamp" not in bom["metadata"]


def test_packages_that_need_a_pin_are_read_on_one_or_several_lines() -> None:
    lock = "a==1 \\\n    --hash=sha256:0\n    # via b\nb[x]==2\n    # via\n    #   c (pyproject.toml)\n"
    lock += "    #   d[y]\n"
    assert required_by(lock) == {"a": {"b"}, "b": {"c", "d"}}
