"""Helpers to read the files of ``deploy/``."""

import re
from pathlib import Path
from typing import Any, Final

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
"""The exporter's scrape job in the rules."""

YAML_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The faster one, where it is built."""

_FLAG = re.compile(r"^--[a-z][a-z0-9.-]*")


def document(path: Path) -> Any:
    """Return the only YAML document of a file."""
    return yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)


def assert_fits(schema: str, *files: Path) -> None:
    """Check files by a schema that is part of check-jsonschema, which takes seconds to start."""
    from check_jsonschema import main

    arguments = ["--builtin-schema", f"vendor.{schema}", *map(str, files)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def unknown_flags(arguments: list[str]) -> set[str]:
    """Return the flags in the arguments that the command does not have."""
    command = arguments[0] if arguments[0] in cli.commands else "serve"
    result = CliRunner().invoke(cli, [command, "--help"])
    known = set(re.findall(r"^  (--[a-z][a-z0-9.-]*)", result.output, re.MULTILINE))
    return {flag[0] for argument in arguments if (flag := _FLAG.match(argument))} - known


def loaded(path: Path, secrets: Path, **environ: str) -> Config:
    """Parse a configuration of ``deploy/``, with files of secrets read from another folder."""
    text = re.sub(r"(_file: )\S*?([^/\s]+)$", rf"\1{secrets}/\2", path.read_text(), flags=re.MULTILINE)
    return parse(text, source=str(path), environ=environ, base_dir=path.parent)
