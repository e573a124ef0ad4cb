"""From a file to a `Config`, or to one `ConfigError` that lists every problem.

`read_text` and `validated` read files of other schemas the same way.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from exporter.config.lookalike_characters import hint_within
from exporter.config.problems import Problem, quote, render
from exporter.config.schema import Config
from exporter.config.section_base import Section
from exporter.config.yaml_document import Document, read_document
from exporter.errors import ConfigError
from exporter.regular_files import os_reason, read_bounded

S = TypeVar("S", bound=Section)

LARGEST_FILE: Final = 16 * 2**20


def load(
    path: Path,
    environ: Mapping[str, str] = os.environ,
    schema: type[Config] = Config,
    *,
    if_missing: str = "",
) -> Config:
    """Load the configuration file and the files with secrets that it names.

    Relative paths start from its folder, except that of the state. ``environ`` has the values of ``${NAME}``.
    ``if_missing`` ends the error about a missing file.

    Raises:
        ConfigError: a file cannot be read, or its content is invalid; one line for each problem.
    """
    text = read_text(path, if_missing)
    return parse(text, source=str(path), environ=environ, base_dir=path.parent, schema=schema)


def parse(
    text: str,
    *,
    source: str,
    environ: Mapping[str, str],
    base_dir: Path,
    schema: type[Config] = Config,
) -> Config:
    """Parse the text of a configuration, as `load` does; ``source`` is the file's name in errors."""
    document = read_document(text, environ)
    if document.data is None:
        problem = Problem(1, (), "is empty; see config.example.yaml")
        raise ConfigError(render([*document.problems, problem], source))
    return validated(schema, document, source=source, base_dir=base_dir, example="config.example.yaml")


def read_text(path: Path, if_missing: str = "") -> str:
    """Read a YAML file; ``if_missing`` ends the error about a missing one.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_bounded(path, LARGEST_FILE).decode("utf-8-sig")
    except OSError as error:
        hint = if_missing if isinstance(error, FileNotFoundError) else ""
        problem = Problem(0, (), f"cannot be read: {os_reason(error)}{hint}")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem(line, (), "is not UTF-8 text; save it as UTF-8")
    raise ConfigError(problem.render(str(path)))


def validated(schema: type[S], document: Document, *, source: str, base_dir: Path, example: str) -> S:
    """Validate a document, in which relative paths start from ``base_dir``.

    Errors name ``source`` as the file, and ``example`` as a valid one.

    Raises:
        ConfigError: one line for each problem, in the order of the file.
    """
    result = _validate(schema, document, base_dir, example)
    # Raised here, outside of any `except`, so that no traceback shows an error that still holds values.
    if isinstance(result, schema) and not document.problems:
        return result
    problems = result if isinstance(result, list) else []
    raise ConfigError(render([*document.problems, *problems], source))


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
    path, text, context = error["loc"], error["msg"], error.get("ctx", {})
    line = document.line(path)
    if "first" in context:
        text = f"{text}, in line {document.line(context['first'])}; keep one"
    if error["type"] == "hidden_key":
        path = path[:-1]
    if error["type"] == "value":
        subject, is_literal = _subject(path, document)
        suggestion = context.get("suggestion") if is_literal else None
        text = f"{subject} {text}{f'; write {suggestion}' if suggestion else ''}"
    return _with_hint(Problem(line, path, text), document)


def _with_hint(problem: Problem, document: Document) -> Problem:
    """Add a correction if a character there only looks like one of YAML's."""
    place = document.places.get(problem.path)
    found = hint_within(document.lines, problem.line, max(problem.line, place.last if place else 0))
    if found is None:
        return problem
    line, hint = found
    return Problem(line, problem.path, f"{problem.text}{'' if problem.text.endswith('?') else ';'} {hint}")


def _subject(path: tuple[str | int, ...], document: Document) -> tuple[str, bool]:
    """Describe a value as written in the file, which hides what comes from the environment.

    Returns:
        The description, and whether it is the value itself.
    """
    while path not in document.places and path:
        path = path[:-1]
    text = document.places[path].text
    if text is None:
        return "it", False
    return (f"the value of {quote(text)}", False) if "${" in text else (quote(text), True)
