"""The bill of materials: valid, the same each time, and all that a user installs with what needs it."""

import json
from pathlib import Path
from typing import Any

import pytest

from exporter import __version__
from tests.test_locks import RUNTIME, asked, pins
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
def told(text: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(text)
    return whole


def test_it_is_valid_by_the_schema_of_cyclonedx(text: str, told: dict[str, Any]) -> None:
    # Imports jsonschema, which takes seconds.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = SchemaVersion.from_version(told["specVersion"])
    assert JsonStrictValidator(version).validate_str(text) is None


def test_it_lists_what_is_locked_with_its_hashes(told: dict[str, Any]) -> None:
    listed = {
        one["name"]: (one["version"], {f"sha256:{each['content']}" for each in hashes(one)})
        for one in told["components"]
    }
    assert listed == {pin.name: (str(pin.version), set(pin.hashes)) for pin in pins(RUNTIME)}


def hashes(component: dict[str, Any]) -> list[dict[str, str]]:
    return [each for place in component["externalReferences"] for each in place["hashes"]]


def test_the_package_is_there_with_its_version_and_needs_what_pyproject_names(told: dict[str, Any]) -> None:
    package = told["metadata"]["component"]
    assert package["purl"] == f"pkg:pypi/codearts-build-exporter@{__version__}"
    [needs] = [one["dependsOn"] for one in told["dependencies"] if one["ref"] == package["bom-ref"]]
    wanted = {one.name.lower() for one in asked("redis", "remote-write")}
    assert {one.split("/")[1].split("@")[0] for one in needs} == wanted


def test_every_part_but_the_package_is_required_by_another(told: dict[str, Any]) -> None:
    needed = {one for part in told["dependencies"] for one in part["dependsOn"]}
    assert needed == {one["bom-ref"] for one in told["components"]}


def test_no_time_and_no_number_of_this_run_is_in_it(told: dict[str, Any]) -> None:
    assert "serialNumber" not in told
    assert "timestamp" not in told["metadata"]


def test_the_reason_of_a_pin_stands_beside_it_or_below() -> None:
    lock = "a==1 \\\n    --hash=sha256:0\n    # via b\nb[x]==2\n    # via\n    #   c (pyproject.toml)\n"
    lock += "    #   d[y]\n"
    assert required_by(lock) == {"a": {"b"}, "b": {"c", "d"}}
