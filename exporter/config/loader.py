"""From a file to a `Config`, or to one `ConfigError` that tells everything that is wrong.

Files of another schema are read in the same way, by `read_text` and `validated`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config.files import read_bounded, why
from exporter.config.lookalikes import hint_within
from exporter.config.problems import Problem, quote, render
from exporter.config.schema import Config
from exporter.config.section import Section
from exporter.config.yaml_document import Document, read_document
from exporter.errors import ConfigError

S = TypeVar("S", bound=Section)

LARGEST_FILE: Final = 16 * 2**20


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration file and the files with secrets that it names.

    Args:
        path: of the YAML file; relative paths in it start from its folder, save that of the state.
        environ: where ``${NAME}`` is looked up.

    Raises:
        ConfigError: a file cannot be read or its content is wrong; a line for each problem.
    """
    return parse(read_text(path), source=str(path), environ=environ, base_dir=path.parent)


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
    if document.data is None:
        problem = Problem(1, (), "is empty; config.example.yaml shows what belongs in it")
        raise ConfigError(render([*document.problems, problem], source))
    return validated(Config, document, source=source, base_dir=base_dir, example="config.example.yaml")


def read_text(path: Path) -> str:
    """Read a file of YAML.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_bounded(path, LARGEST_FILE).decode("utf-8-sig")
    except OSError as error:
        problem = Problem(0, (), f"cannot be read: {why(error)}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem(line, (), "is not UTF-8 text; save it as UTF-8")
    raise ConfigError(problem.render(str(path)))


def validated(schema: type[S], document: Document, *, source: str, base_dir: Path, example: str) -> S:
    """Hold a document against the schema of its file.

    Args:
        schema: of the whole file.
        document: what stands in it.
        source: what errors call it: the file's name.
        base_dir: where relative paths in it start from.
        example: where a right one is to be seen.

    Raises:
        ConfigError: a line for each problem, in the order of the text's lines.
    """
    outcome = _validate(schema, document, base_dir, example)
    # Raised here, out of any `except`, so that no traceback shows an error that still holds values.
    if isinstance(outcome, schema) and not document.problems:
        return outcome
    found = outcome if isinstance(outcome, list) else []
    raise ConfigError(render([*document.problems, *found], source))


def _validate(schema: type[S], document: Document, base_dir: Path, example: str) -> S | list[Problem]:
    if () in document.broken:
        return []
    if not isinstance(document.data, dict):
        problem = Problem(1, (), f"must be a mapping of keys to values, as in {example}")
        return [_with_hint(problem, document)]
    try:
        return schema.model_validate(document.data, context={"base_dir": base_dir})
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
        subject, written = _subject(path, document)
        meant = error.get("ctx", {}).get("meant")
        text = f"{subject} {text}{f'; write {meant}' if meant and written else ''}"
    return _with_hint(Problem(line, path, text), document)


def _with_hint(problem: Problem, document: Document) -> Problem:
    """Add what to write, and where, if a character stands there that only looks like one of YAML's."""
    place = document.places.get(problem.path)
    found = hint_within(document.lines, problem.line, max(problem.line, place.last if place else 0))
    if found is None:
        return problem
    line, hint = found
    return Problem(line, problem.path, f"{problem.text}{'' if problem.text.endswith('?') else ';'} {hint}")


def _subject(path: tuple[str | int, ...], document: Document) -> tuple[str, bool]:
    """Name a value by what stands in the file; what came from the environment is not shown.

    Returns:
        The name, and whether it is the value itself.
    """
    while path not in document.places and path:
        path = path[:-1]
    text = document.places[path].text
    if text is None:
        return "it", False
    return (f"the value of {quote(text)}", False) if "${" in text else (quote(text), True)
