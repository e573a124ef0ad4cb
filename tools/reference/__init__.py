"""Pages generated from the code by ``make reference``, so that they cannot differ from it.

Each page is a function from declarations in the code to text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from exporter.cli.commands import cli
from tools.reference.commands import commands_page
from tools.reference.configuration import configuration_page
from tools.reference.fleet import exposition
from tools.reference.metrics import metrics_page
from tools.reference.schema import chart_values_schema, config_schema, rendered

CHART_VALUES = Path(__file__).parents[2] / "deploy" / "helm" / "values.schema.json"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "deploy/helm/values.schema.json": lambda: chart_values_schema(CHART_VALUES.read_text(encoding="utf-8")),
    "docs/command-line.md": lambda: commands_page(cli),
    "docs/config.schema.json": rendered,
    "docs/configuration.md": lambda: configuration_page(config_schema(), cli.commands["serve"]),
    "docs/metrics.md": lambda: metrics_page(exposition()),
}
"""What generates each file, by path."""


def written() -> Mapping[str, str]:
    """Return the content of all generated files by path."""
    return {path: generate() for path, generate in PAGES.items()}
