"""Pages that are written from the code, so that they cannot say anything else: ``make reference``.

Every part is a function from what the code declares to text; the only files that are read are the READMEs, in
which the marked places are filled.
"""

from collections.abc import Mapping
from pathlib import Path

from exporter.cli.commands import cli
from tools.reference.commands import commands_page, with_help
from tools.reference.configuration import configuration_page
from tools.reference.fleet import exposition
from tools.reference.metrics import metrics_page
from tools.reference.schema import config_schema, rendered

READMES = ("README.md", "README.zh-CN.md")


def readmes(root: Path) -> Mapping[str, str]:
    """The README as it is, in each language, by path."""
    return {name: (root / name).read_text(encoding="utf-8") for name in READMES}


def written(found: Mapping[str, str]) -> Mapping[str, str]:
    """All that is written from the code, by path.

    Args:
        found: the documents of which only the marked places are written, by path.
    """
    return {
        **{name: with_help(text, cli) for name, text in found.items()},
        "docs/command-line.md": commands_page(cli),
        "docs/config.schema.json": rendered(),
        "docs/configuration.md": configuration_page(config_schema(), cli.commands["serve"]),
        "docs/metrics.md": metrics_page(exposition()),
    }
