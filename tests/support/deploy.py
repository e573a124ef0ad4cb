"""The files of ``deploy/`` as the tests read them."""

import re
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from exporter import __version__
from exporter.cli.commands import cli
from exporter.config import Config, parse

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
IMAGE = f"codearts-build-exporter:{__version__}"
PORT = 10088
USER = 10088
SCRAPE_JOB = "codearts-build"
"""What the rules call the exporter's scrape job."""

_FLAG = re.compile(r"^--[a-z][a-z0-9.-]*")


def document(path: Path) -> Any:
    """The only YAML document of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def unknown_flags(arguments: list[str]) -> set[str]:
    """The flags among the arguments of ``codearts-build-exporter`` that its command does not have."""
    named = arguments[0] if arguments[0] in cli.commands else "serve"
    shown = CliRunner().invoke(cli, [named, "--help"])
    known = set(re.findall(r"^  (--[a-z][a-z0-9.-]*)", shown.output, re.MULTILINE))
    return {flag[0] for one in arguments if (flag := _FLAG.match(one))} - known


def loaded(path: Path, secrets: Path, **environ: str) -> Config:
    """A configuration of ``deploy/``; files with secrets are looked for by their names in a folder."""
    text = re.sub(r"(_file: )\S*?([^/\s]+)$", rf"\1{secrets}/\2", path.read_text(), flags=re.MULTILINE)
    return parse(text, source=str(path), environ=environ, base_dir=path.parent)
