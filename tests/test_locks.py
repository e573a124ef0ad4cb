"""The lock files match pyproject.toml, are complete for every platform, and have hashes."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
RUNTIME = "requirements.lock"
DEVELOPMENT = "requirements-dev.lock"
BUILD = "requirements-build.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OUTDATED = "run `make lock`"

MACHINES = [
    ("linux", "Linux", "x86_64"),
    ("linux", "Linux", "aarch64"),
    ("darwin", "Darwin", "arm64"),
    ("darwin", "Darwin", "x86_64"),
]
PYTHONS = ["3.11", "3.12", "3.13"]


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version:
        [specifier] = self.requirement.specifier
        assert specifier.operator == "=="
        return Version(specifier.version)


def pins(lock: str) -> list[Pin]:
    entries = re.sub(r"\\\n\s*", " ", (ROOT / lock).read_text(encoding="utf-8")).splitlines()
    found = []
    for entry in entries:
        if entry.strip() and not entry.lstrip().startswith("#"):
            words, *hashes = entry.split(" --hash=")
            found.append(Pin(Requirement(words), tuple(text.strip() for text in hashes)))
    return found


def on(python: str, machine: tuple[str, str, str]) -> dict[str, str]:
    platform, system, processor = machine
    return {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": processor,
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**environment})


def dependencies(lock: str) -> Iterator[Requirement]:
    """Yield the direct dependencies that a lock file has to cover."""
    project = PROJECT["project"]
    for texts in (project["dependencies"], *project["optional-dependencies"].values()):
        yield from map(Requirement, texts)
    if lock == DEVELOPMENT:
        yield from (
            Requirement(text) for text in PROJECT["dependency-groups"]["dev"] if isinstance(text, str)
        )


def test_users_are_offered_only_extras_that_the_exporter_uses() -> None:
    assert PROJECT["project"]["optional-dependencies"].keys() == {"redis", "remote-write"}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine[0]}-{machine[2]}")
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT])
def test_every_direct_dependency_is_locked_once_and_in_its_range(
    lock: str, python: str, machine: tuple[str, str, str]
) -> None:
    environment = on(python, machine)
    locked = [(pin.name, pin.version) for pin in pins(lock) if applies(pin.requirement, environment)]
    versions = dict(locked)
    assert len(versions) == len(locked)
    for requirement in dependencies(lock):
        if applies(requirement, environment):
            name = canonicalize_name(requirement.name)
            assert name in versions, OUTDATED
            assert versions[name] in requirement.specifier, f"{requirement}: {OUTDATED}"


@pytest.mark.parametrize("lock", [DEVELOPMENT, BUILD])
def test_the_build_backend_is_locked_and_in_its_range(lock: str) -> None:
    versions = {pin.name: pin.version for pin in pins(lock)}
    for text in PROJECT["build-system"]["requires"] + PROJECT["dependency-groups"]["build"]:
        requirement = Requirement(text)
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier, OUTDATED


@pytest.mark.parametrize("lock", [RUNTIME, BUILD])
def test_the_development_lock_has_the_versions_of_the_other_locks(lock: str) -> None:
    development = {str(pin.requirement): pin.hashes for pin in pins(DEVELOPMENT)}
    plain = {re.sub(r"\[.*?\]", "", text): hashes for text, hashes in development.items()}
    for pin in pins(lock):
        assert plain.get(re.sub(r"\[.*?\]", "", str(pin.requirement))) == pin.hashes, OUTDATED


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT, BUILD])
def test_every_pin_has_hashes(lock: str) -> None:
    bare = [pin.name for pin in pins(lock) if not pin.hashes]
    assert bare == []
    hashes = [text for pin in pins(lock) for text in pin.hashes]
    assert [text for text in hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", text)] == []


@pytest.mark.parametrize("lock", [RUNTIME, DEVELOPMENT, BUILD])
def test_a_lock_file_has_no_index_no_path_and_no_url(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert re.findall(r"://|--(?:index|extra|find|trusted)|^-[a-z]|(?:^|\s)/\w", text, re.MULTILINE) == []
    assert "#    make lock\n" in text
