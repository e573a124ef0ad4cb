"""Pages generated from the code by ``make reference``, so that they cannot differ from it.

Each page is a function from declarations in the code to text.
"""

from collections.abc import Mapping

from exporter.cli.commands import cli
from tools.reference.commands import commands_page
from tools.reference.configuration import configuration_page
from tools.reference.fleet import exposition
from tools.reference.metrics import metrics_page
from tools.reference.schema import config_schema, rendered


def written() -> Mapping[str, str]:
    """Return the content of all generated files by path."""
    return {
        "docs/command-line.md": commands_page(cli),
        "docs/config.schema.json": rendered(),
        "docs/configuration.md": configuration_page(config_schema(), cli.commands["serve"]),
        "docs/metrics.md": metrics_page(exposition()),
    }
