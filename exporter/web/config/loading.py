"""From a file to a `WebConfig`, or to one `ConfigError` that tells everything that is wrong."""

from pathlib import Path

from exporter.config.document import Document, read_document
from exporter.config.loading import read_text, validated
from exporter.web.config.schema import WebConfig

_EXAMPLE = "docs/tls.md"


def load(path: Path) -> WebConfig:
    """Read the web configuration, and the certificates and keys that it names.

    Args:
        path: of the YAML file; relative paths in it start from its folder.

    Raises:
        ConfigError: a file cannot be read or its content is wrong; a line for each problem.
    """
    return parse(read_text(path), source=str(path), base_dir=path.parent)


def parse(text: str, *, source: str, base_dir: Path) -> WebConfig:
    """Read a web configuration; ``${NAME}`` has no meaning in this format.

    Args:
        text: YAML.
        source: what errors call it: the file's name.
        base_dir: where relative paths in it start from.

    Raises:
        ConfigError: a line for each problem, in the order of the text's lines.
    """
    document = read_document(text, None)
    if document.data is None:
        document = Document({}, problems=document.problems)
    return validated(WebConfig, document, source=source, base_dir=base_dir, example=_EXAMPLE)
