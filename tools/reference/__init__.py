"""Pages that are written from the code, so that they cannot say anything else: ``make reference``.

Every part is a function from what the code declares to text.
"""

from collections.abc import Mapping

from exporter.cli.commands import cli
from tools.reference.commands import commands_page
from tools.reference.configuration import configuration_page
from tools.reference.fleet import exposition
from tools.reference.metrics import metrics_page
from tools.reference.schema import config_schema, rendered


def written() -> Mapping[str, str]:
    """All that is written from the code, by path."""
    return {
        "docs/command-line.md": commands_page(cli),
        "docs/config.schema.json": rendered(),
        "docs/configuration.md": configuration_page(config_schema(), cli.commands["serve"]),
        "docs/metrics.md": metrics_page(exposition()),
    }
