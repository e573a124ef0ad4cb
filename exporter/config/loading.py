"""From a file to a `Config`, or to one `ConfigError` that tells everything that is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config.document import Document, read_document
from exporter.config.files import read_bounded, why
from exporter.config.problems import Problem, quote, render
from exporter.config.schema import Config
from exporter.errors import ConfigError

_LARGEST_FILE: Final = 16 * 2**20


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration file and the files with secrets that it names.

    Args:
        path: of the YAML file; relative paths in it start from its folder, save that of the state.
        environ: where ``${NAME}`` is looked up.

    Raises:
        ConfigError: a file cannot be read or its content is wrong; a line for each problem.
    """
    try:
        text = read_bounded(path, _LARGEST_FILE).decode("utf-8-sig")
    except OSError as error:
        problem = Problem(0, (), f"cannot be read: {why(error)}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem(line, (), "is not UTF-8 text")
    else:
        return parse(text, source=str(path), environ=environ, base_dir=path.parent)
    raise ConfigError(problem.render(str(path)))


def parse(text: str, *, source: str, environ: Mapping[str, str], base_dir: Path) -> Config:
    """Read a configuration.

    Args:
        text: YAML.
        source: what errors call it: the file's name.
        environ: where ``${NAME}`` is looked up.
        base_dir: where relative paths in it start from, save that of the state.

    Raises:
        ConfigError: a line for each problem, in the order of the text's lines.
    """
    document = read_document(text, environ)
    outcome = _validate(document, base_dir)
    # Raised here, out of any `except`, so that no traceback shows an error that still holds values.
    if isinstance(outcome, Config) and not document.problems:
        return outcome
    found = [] if isinstance(outcome, Config) else outcome
    raise ConfigError(render([*document.problems, *found], source))


def _validate(document: Document, base_dir: Path) -> Config | list[Problem]:
    if () in document.broken:
        return []
    if document.data is None:
        return [Problem(1, (), "is empty; config.example.yaml shows what belongs in it")]
    if not isinstance(document.data, dict):
        return [Problem(1, (), "must be a mapping of keys to values, as in config.example.yaml")]
    try:
        return Config.model_validate(document.data, context={"base_dir": base_dir})
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    return [_locate(item, document) for item in errors if not _is_broken(item["loc"], document)]


def _is_broken(path: tuple[str | int, ...], document: Document) -> bool:
    return any(path[:length] in document.broken for length in range(len(path) + 1))


def _locate(error: ErrorDetails, document: Document) -> Problem:
    path, text = error["loc"], error["msg"]
    line = document.line(path)
    first = error.get("ctx", {}).get("first")
    if first is not None:
        text = f"{text}, in line {document.line(first)}; keep one"
    if error["type"] == "hidden_key":
        path = path[:-1]
    if error["type"] == "value":
        text = f"{_subject(path, document)} {text}"
    return Problem(line, path, text)


def _subject(path: tuple[str | int, ...], document: Document) -> str:
    """Name a value by what stands in the file; what came from the environment is not shown."""
    while path not in document.places and path:
        path = path[:-1]
    text = document.places[path].text
    if text is None:
        return "it"
    return f"the value of {quote(text)}" if "${" in text else quote(text)
