"""Pages that are written from the code, so that they cannot say anything else: ``make reference``.

Every part is a function from what the code declares to text; the only file that is read is the README, in
which the marked places are filled.
"""

from collections.abc import Mapping

from exporter.cli.commands import cli
from tools.reference.commands import commands_page, with_help
from tools.reference.configuration import configuration_page
from tools.reference.fleet import exposition
from tools.reference.metrics import metrics_page
from tools.reference.schema import config_schema, rendered


def written(readme: str) -> Mapping[str, str]:
    """All that is written from the code, by path.

    Args:
        readme: the README as it is.
    """
    return {
        "README.md": with_help(readme, cli),
        "docs/command-line.md": commands_page(cli),
        "docs/config.schema.json": rendered(),
        "docs/configuration.md": configuration_page(config_schema(), cli.commands["serve"]),
        "docs/metrics.md": metrics_page(exposition()),
    }
