"""Set the version, or the address of the repository, everywhere in the checkout.

`python -m tools.bump 0.2.0` also gives the changelog's section "Unreleased" its version and date.
`python -m tools.bump https://github.com/OWNER/NAME` changes the links to documentation and runbooks.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

ROOT: Final = Path(__file__).parents[1]
VERSIONED: Final = ("exporter/__init__.py", "deploy/**/*", "docs/deployment.md", "CONTRIBUTING.md")
"""Files with the version; in other files it is an example."""

_BEFORE_VERSION: Final = (
    r'(__version__ = "|codearts-build-exporter[:-]|NAME:|image\.version="|tags/v'
    r'|\b(?:newTag|tag|appVersion|[vV]ersion): "?)'
)
_REPOSITORY: Final = r"https://github\.com/([\w.-]+/[\w.-]+)"
_HOSTS: Final = r"(https://(?:github|raw\.githubusercontent)\.com/)"


def bump_version(root: Path, version: str) -> list[Path]:
    """Set the version and return the changed files.

    Raises:
        ValueError: ``version`` is none, or not above the current one.
    """
    current = re.findall(r'^__version__ = "(.+)"$', _text(root / "exporter" / "__init__.py"), re.MULTILINE)[0]
    try:
        is_newer = Version(version) > Version(current)
    except InvalidVersion:
        raise ValueError(f"{version!r} is not a version") from None
    if not is_newer:
        raise ValueError(f"{version} is not above {current}")
    pattern = re.compile(rf"{_BEFORE_VERSION}{re.escape(current)}(?![\w.-])")
    files = [path for glob in VERSIONED for path in sorted(root.glob(glob))]
    changed = _rewrite(files, lambda text: pattern.sub(rf"\g<1>{version}", text))
    return [*changed, *_rewrite([root / "CHANGELOG.md"], lambda text: _dated(text, version))]


def _dated(changelog: str, version: str) -> str:
    """Begin a new section "Unreleased" above what the version contains."""
    heading = f"## [Unreleased]\n\n## [{version}] - {datetime.now(UTC):%Y-%m-%d}\n"
    return re.sub(r"## \[Unreleased\]\n(\nWhat will be .+\n)?", heading, changelog, count=1)


def set_repository(root: Path, url: str) -> list[Path]:
    """Change every link to the repository and return the changed files.

    Raises:
        ValueError: ``url`` is not that of a repository on GitHub.
    """
    new = re.fullmatch(_REPOSITORY, url)
    if new is None:
        raise ValueError(f"{url} is not an address such as https://github.com/OWNER/NAME")
    source = tomllib.loads(_text(root / "pyproject.toml"))["project"]["urls"]["Source"]
    old = re.fullmatch(_REPOSITORY, source)
    if old is None:
        raise ValueError(f"pyproject.toml: project.urls.Source is {source}")
    pattern = re.compile(rf"{_HOSTS}{re.escape(old[1])}(?![\w-])")
    return _rewrite(_files(root), lambda text: pattern.sub(rf"\g<1>{new[1]}", text))


def _files(root: Path) -> Iterable[Path]:
    """List the files of the checkout, without those that tools have made."""
    for path in sorted(root.rglob("*")):
        folders = path.relative_to(root).parts[:-1]
        is_made = any(folder.startswith((".", "dist", "__pycache__")) for folder in folders)
        if not is_made or folders[0] == ".github":
            yield path


def _rewrite(files: Iterable[Path], change: Callable[[str], str]) -> list[Path]:
    """Change text files; return those that are different now."""
    changed = []
    for path in files:
        try:
            before = _text(path) if path.is_file() and not path.is_symlink() else ""
        except UnicodeDecodeError:
            continue
        after = change(before)
        if after != before:
            path.write_bytes(after.encode())
            changed.append(path)
    return changed


def _text(path: Path) -> str:
    return path.read_bytes().decode()


def main() -> None:
    """Change the checkout that contains this file, and print what has changed."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.bump VERSION|URL")
    [value] = sys.argv[1:]
    try:
        changed = (set_repository if "://" in value else bump_version)(ROOT, value)
    except ValueError as error:
        sys.exit(str(error))
    for path in changed:
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
