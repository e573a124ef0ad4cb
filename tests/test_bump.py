"""One command sets the version, and one the address of the repository, in every file that has it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

from exporter import __version__
from hatch_build import with_absolute_links
from tests.support.distribution import ROOT, checkout
from tools.bump import VERSIONED, bump_version, set_repository

SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]
NEXT = f"{Version(__version__).major + 1}.2.3"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return checkout(tmp_path / "copy")


def contents(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_version_is_set_in_every_file_that_has_it(copy: Path) -> None:
    pattern = re.compile(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])")
    versioned = {path for glob in VERSIONED for path in copy.glob(glob) if path.is_file()}
    having = {path for path in versioned if pattern.search(path.read_text(encoding="utf-8"))}
    assert copy / "deploy" / "docker" / "Dockerfile" in having
    changed = bump_version(copy, NEXT)
    assert {*changed} == having | {copy / "CHANGELOG.md"}
    for path in having:
        text = path.read_text(encoding="utf-8")
        assert NEXT in text
        assert not pattern.search(text), path


def test_the_changelog_begins_a_new_section(copy: Path) -> None:
    before = (copy / "CHANGELOG.md").read_text(encoding="utf-8")
    bump_version(copy, NEXT)
    after = (copy / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^## \[Unreleased\]\n\n## \[{NEXT}\] - \d{{4}}-\d\d-\d\d\n\n###? ", after, re.MULTILINE
    )
    assert after.partition("### Added")[2] == before.partition("### Added")[2]


@pytest.mark.parametrize("version", ["0.0.1", __version__, "next", ""])
def test_only_a_higher_version_is_accepted(version: str, copy: Path) -> None:
    before = contents(copy)
    with pytest.raises(ValueError, match=r"is not above|is not a version"):
        bump_version(copy, version)
    assert contents(copy) == before


def test_the_repository_is_set_in_every_link(copy: Path) -> None:
    slug = SOURCE.removeprefix("https://github.com/")
    having = {name for name, text in contents(copy).items() if f".com/{slug}" in text}
    assert {"prometheus/alerts.yml", "exporter/web/status_page.py", "config.example.yaml"} <= having
    changed = set_repository(copy, "https://github.com/ops/builds.exporter")
    assert {path.relative_to(copy).as_posix() for path in changed} == having
    assert not [name for name, text in contents(copy).items() if f".com/{slug}" in text]
    alerts = (copy / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert "runbook_url: https://github.com/ops/builds.exporter/blob/main/docs/runbooks/" in alerts


def test_another_host_is_refused(copy: Path) -> None:
    with pytest.raises(ValueError, match="is not an address such as"):
        set_repository(copy, "https://git.example.com/ops/exporter")


def test_links_of_the_package_readme_lead_to_the_tag() -> None:
    text = with_absolute_links(
        "![a](docs/a.svg) [b](docs/b.md#c) [d](#e) [f](https://g) `[h]`", "https://github.com/o/n", "v1"
    )
    assert text == (
        "![a](https://raw.githubusercontent.com/o/n/v1/docs/a.svg) "
        "[b](https://github.com/o/n/blob/v1/docs/b.md#c) [d](#e) [f](https://g) `[h]`"
    )
