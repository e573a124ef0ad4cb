"""YAML's grammar, and its errors in plain words.

The YAML library quotes the text it stumbles over, which may be half a password, so none of its own
words after the first quotation mark are passed on.
"""

import re
from typing import Final

import yaml

from exporter.config.lookalikes import hint_before
from exporter.config.problems import Problem, quote

_EXPLANATIONS: Final = (
    ("found undefined alias", 'an alias "*…" without its anchor "&…"; quote a value that begins with "*"'),
    ("second occurrence", 'the same anchor "&…" twice; quote a value that begins with "&"'),
    ("found undefined tag handle", 'a tag that is not defined; quote a value that begins with "!"'),
    ("mapping values are not allowed", 'a ":" where none can stand; quote a value that contains ": "'),
    ("could not find expected ':'", 'a key without ":", or a quotation mark without its partner'),
    ("found unexpected end of stream", "a quotation mark without its partner"),
    ("but found another document", 'a second document ("---") begins here; there can be one only'),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or ']'", 'a "[" without its "]", a "," is missing, or a "?" inside "[]" needs quotes'),
    ("expected ',' or '}'", 'a "{" without its "}", a "," is missing, or a ${NAME} inside "{}" needs quotes'),
)


def compose(text: str) -> yaml.Node | Problem | None:
    """Read the one document in ``text``; None when it is empty, a `Problem` when it is not YAML."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Problem(line, (), f"is not YAML: the character U+{error.character:04X} cannot stand there")
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        problem = _explain(error, loader.line + 1)
        near = hint_before(text.splitlines(), problem.line)
        return Problem(near[0], (), f"is not YAML: {near[1]}") if near else problem
    except RecursionError:
        return Problem(loader.line + 1, (), "is nested too deeply")
    except (ValueError, OverflowError):  # from chr() and int() within the library, on absurd escapes
        return Problem(loader.line + 1, (), "is not YAML: an escape or a number that cannot be")
    finally:
        loader.dispose()
    return node


def _explain(error: yaml.MarkedYAMLError, line: int) -> Problem:
    problem = error.problem or "a syntax error"
    if error.problem_mark is not None:
        line = error.problem_mark.line + 1
    text = next((words for start, words in _EXPLANATIONS if start in problem), None)
    if text is None:
        text = _forbidden_start(error) or re.split(r"['\"]", problem)[0].removesuffix(", but found ").strip()
    if error.context_mark is not None and error.context_mark.line + 1 != line:
        text += f" (it begins in line {error.context_mark.line + 1})"
    return Problem(line, (), f"is not YAML: {text}")


def _forbidden_start(error: yaml.MarkedYAMLError) -> str | None:
    match = re.search(r"character '(.+)' that cannot start any token", error.problem or "")
    if match is None:
        return None
    if match[1] == r"\t":
        return "a tab; YAML is indented with spaces"
    return f"a value cannot begin with {quote(match[1])}; quote it"
