"""Wheel and source distribution are reproducible, complete, and work after installation."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from exporter import __version__
from tests.support.distribution import ROOT, Distribution, build, checkout

NAME = f"codearts_build_exporter-{__version__}"
METADATA = f"{NAME}.dist-info"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    folder = tmp_path_factory.mktemp("built")
    return build(checkout(folder / "checkout"), folder / "dist")


def test_builds_with_another_path_time_umask_and_time_zone_are_equal(
    built: Distribution, tmp_path: Path
) -> None:
    elsewhere = checkout(tmp_path / "elsewhere" / "of another name", mode=0o600)
    for path in elsewhere.rglob("*"):
        os.utime(path, (86_400 * 5_000, 86_400 * 5_000))
    again = build(
        elsewhere, tmp_path / "dist", umask=0o077, TZ="Pacific/Auckland", PYTHONHASHSEED="7", LANG="C"
    )
    assert again.wheel.name == built.wheel.name
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.name == built.sdist.name
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_wheel_has_only_the_package_its_licence_and_its_metadata(built: Distribution) -> None:
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "exporter").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    described = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    with ZipFile(built.wheel) as wheel:
        assert sorted(wheel.namelist()) == sorted(package | {f"{METADATA}/{name}" for name in described})
        assert wheel.read(f"{METADATA}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def metadata(built: Distribution) -> Message:
    with ZipFile(built.wheel) as wheel:
        return Parser().parsestr(wheel.read(f"{METADATA}/METADATA").decode())


def test_the_metadata_has_name_version_licence_and_readme(built: Distribution) -> None:
    found = metadata(built)
    assert found["Name"] == "codearts-build-exporter"
    assert found["Version"] == __version__
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.11"
    assert "Development Status :: 4 - Beta" in found.get_all("Classifier", [])
    assert {url.partition(", ")[0] for url in found.get_all("Project-URL", [])} == {
        *("Source", "Documentation", "Changelog", "Issues")
    }


def test_the_readme_of_the_package_needs_no_files_beside_it(built: Distribution) -> None:
    shown = str(metadata(built).get_payload())
    written = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(shown.splitlines()) == len(written.splitlines())
    targets = re.findall(r"\]\(([^)\s]+)\)", shown)
    assert len(targets) == len(re.findall(r"\]\(([^)\s]+)\)", written))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    images = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", shown)
    assert images
    for image in images:
        assert re.match(
            rf"https://raw\.githubusercontent\.com/[\w-]+/[\w-]+/v{re.escape(__version__)}/docs/", image
        )


def test_dependencies_are_ranges_not_locked_versions(built: Distribution) -> None:
    dependencies = metadata(built).get_all("Requires-Dist", [])
    assert dependencies
    assert [text for text in dependencies if "==" in text.partition(";")[0] or "@" in text] == []


def test_the_source_distribution_has_tests_and_no_details_of_this_machine(built: Distribution) -> None:
    with tarfile.open(built.sdist) as archive:
        members = archive.getmembers()
    names = {member.name.removeprefix(f"{NAME}/") for member in members}
    assert {"Makefile", "LICENSE", "requirements-dev.lock", "tests/test_distribution.py"} <= names
    assert {path.name for path in ROOT.glob("*.md")} <= names
    hidden = {name for name in names if name.startswith(".")}
    assert {name.split("/")[0] for name in hidden} <= {".ci", ".dockerignore", ".github", ".gitignore"}
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}


def test_the_wheel_works_in_a_new_environment(built: Distribution, tmp_path: Path) -> None:
    """Use the dependencies of this environment, so that no package index is needed."""

    def run(*command: str) -> str:
        result = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout.strip()

    fresh = tmp_path / "fresh"
    run(sys.executable, "-m", "venv", "--without-pip", str(fresh))
    python = str(fresh / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--no-deps", "--no-index", str(built.wheel))
    [packages] = fresh.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    assert run(python, "-c", "import exporter; print(exporter.__file__)").startswith(str(packages))
    output = run(str(fresh / "bin" / "codearts-build-exporter"), "--version")
    assert f" version {__version__} " in output
