"""Pages generated from the code by ``make reference``, so that they cannot differ from it.

Each page is a function from declarations in the code to text.
"""

from collections.abc import Mapping
from pathlib import Path

from exporter.cli.commands import cli
from tools.reference.commands import commands_page
from tools.reference.configuration import configuration_page
from tools.reference.fleet import exposition
from tools.reference.metrics import metrics_page
from tools.reference.schema import chart_values_schema, config_schema, rendered

CHART_VALUES = Path(__file__).parents[2] / "deploy" / "helm" / "values.schema.json"


def written() -> Mapping[str, str]:
    """Return the content of all generated files by path."""
    return {
        "deploy/helm/values.schema.json": chart_values_schema(CHART_VALUES.read_text(encoding="utf-8")),
        "docs/command-line.md": commands_page(cli),
        "docs/config.schema.json": rendered(),
        "docs/configuration.md": configuration_page(config_schema(), cli.commands["serve"]),
        "docs/metrics.md": metrics_page(exposition()),
    }
