"""YAML with the line of each value; environment variables are expanded.

The YAML library's messages quote the text at the error, which may be half a password, so everything after the
first quotation mark is dropped.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml

from exporter.config.lookalike_characters import hint_before, hint_within, looks_like_key
from exporter.config.problems import CONTROL_CHARACTERS, Path, Problem, quote

_EXPLANATIONS: Final = (
    ("found undefined alias", 'an alias "*…" without its anchor "&…"; quote a value that begins with "*"'),
    ("second occurrence", 'the same anchor "&…" twice; quote a value that begins with "&"'),
    ("found undefined tag handle", 'a tag that is not defined; quote a value that begins with "!"'),
    ("mapping values are not allowed", 'a ":" is not allowed here; quote a value that contains ": "'),
    ("could not find expected ':'", 'a key without ":", or a quotation mark without its partner'),
    ("found unexpected end of stream", "a quotation mark without its partner"),
    ("but found another document", 'a second document ("---") begins here; only one is allowed'),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or ']'", 'a "[" without its "]", a "," is missing, or a "?" inside "[]" needs quotes'),
    ("expected ',' or '}'", 'a "{" without its "}", a "," is missing, or a ${NAME} inside "{}" needs quotes'),
)


def _compose(text: str) -> yaml.Node | Problem | None:
    """Parse the one document in ``text``; None if it is empty, a `Problem` if it is not YAML."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return Problem(line, (), f"is not YAML: the character U+{error.character:04X} is not allowed")
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        problem = _explain(error, loader.line + 1)
        near = hint_before(text.splitlines(), problem.line)
        return Problem(near[0], (), f"is not YAML: {near[1]}") if near else problem
    except RecursionError:
        return Problem(loader.line + 1, (), "is nested too deeply")
    except (ValueError, OverflowError):  # from chr() and int() within the library, on impossible escapes
        return Problem(loader.line + 1, (), "is not YAML: an impossible escape or number")
    finally:
        loader.dispose()
    return node


def _explain(error: yaml.MarkedYAMLError, line: int) -> Problem:
    problem = error.problem or "a syntax error"
    if error.problem_mark is not None:
        line = error.problem_mark.line + 1
    text = next((explanation for part, explanation in _EXPLANATIONS if part in problem), None)
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


BROKEN: Final = object()
"""Placeholder of a value whose problem is already reported."""

_TAG: Final = "tag:yaml.org,2002:"
_SCALAR_TAGS: Final = frozenset(
    _TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")
)
_MERGE: Final = _TAG + "merge"
_NULL: Final = _TAG + "null"
_MAX_DEPTH: Final = 20
_MAX_VALUES: Final = 200_000  # 25,000 jobs with id, name and project; an alias bomb exceeds it at once
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a value; for a scalar also its last line, and its text before expansion."""

    line: int
    text: str | None = None
    last: int = 0


@dataclass(slots=True)
class Document:
    """The content of a file.

    Attributes:
        lines: the lines of the file.
        data: mappings, lists, texts and None; `BROKEN` where ``problems`` has the reason.
        places: the position of every value.
        broken: the paths of `BROKEN` values.
    """

    lines: list[str]
    data: object = None
    places: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)

    def line(self, path: Path) -> int:
        """Return the line of a value, or of the innermost existing one around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path].line if path in self.places else 1


def read_document(text: str, environ: Mapping[str, str] | None) -> Document:
    """Parse one YAML document; errors are listed in its ``problems``.

    Without ``environ``, ``${NAME}`` is not expanded, and scalars may be empty or have several lines.
    """
    document = Document(text.splitlines())
    node = _compose(text)
    try:
        if isinstance(node, yaml.Node):
            document.data = _Reader(document, environ).value(node, (), _line(node))
    except _TooManyValuesError:
        node = Problem(1, (), f"its aliases expand to more than {_MAX_VALUES:,} values")
    if isinstance(node, Problem):
        return Document(document.lines, BROKEN, problems=[node], broken={()})
    return document


class _TooManyValuesError(Exception):
    """The document would expand to more than `_MAX_VALUES`."""


class _Reader:
    def __init__(self, document: Document, environ: Mapping[str, str] | None) -> None:
        self._document = document
        self._environ = environ
        self._values = 0

    def value(self, node: yaml.Node, path: Path, line: int) -> object:
        self._count_value()
        self._document.places[path] = Place(line)
        if len(path) > _MAX_DEPTH:
            return self._refuse(path, "is nested too deeply, or within itself")
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALAR_TAGS:
            return self._scalar(node, path, line)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*path, i), _line(item)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        # The tag is not shown: an unquoted password that begins with "!" is one.
        return self._refuse(path, 'has an unsupported YAML tag; quote a value that begins with "!"')

    def _count_value(self) -> None:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise _TooManyValuesError

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in self._own_pairs(node, path):
            if key.value in pairs:
                text = f"is given twice, first in line {_line(pairs[key.value][0])}; keep one"
                self._report(_line(key), (*path, key.value), text)
            else:
                pairs[key.value] = (key, value)
        for key, value in self._merged_pairs(node, path, depth=0):
            pairs.setdefault(key.value, (key, value))
        return {name: self.value(value, (*path, name), _line(key)) for name, (key, value) in pairs.items()}

    def _own_pairs(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _SCALAR_TAGS:
                self._report(_line(key), path, "has a key that is not plain text")
            elif key.tag != _MERGE:
                yield key, value

    def _merged_pairs(
        self, node: yaml.MappingNode, path: Path, depth: int
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Yield what ``<<`` merges in, the nearest first: the first pair with a key wins."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                self._count_value()
                if not isinstance(source, yaml.MappingNode) or depth > _MAX_DEPTH:
                    self._report(_line(key), path, 'merges itself or a value that is not a mapping with "<<"')
                else:
                    yield from self._own_pairs(source, path)
                    yield from self._merged_pairs(source, path, depth + 1)

    def _scalar(self, node: yaml.ScalarNode, path: Path, line: int) -> object:
        if node.tag == _NULL:
            return None
        last = int(node.end_mark.line) + (node.style is None)
        self._document.places[path] = Place(line, node.value, last)
        if self._environ is None:
            return node.value
        if node.style is None and (hidden := self._hidden_key(_line(node), last)):
            return self._refuse(path, f"YAML sees no key in this line; {hidden[1]}", line=hidden[0])
        text, problems = _substitute(node.value, self._environ)
        for problem in problems:
            self._refuse(path, problem)
        if problems:
            return BROKEN
        if not text:
            names = [name for name in _REFERENCE.findall(node.value) if name]
            what = f"the environment variable {names[0]} is empty" if names else "is empty"
            return self._refuse(path, f"{what}; give a value or leave the key out")
        if CONTROL_CHARACTERS.search(text):
            return self._refuse(path, "contains a line break or another control character")
        return text

    def _hidden_key(self, first: int, last: int) -> tuple[int, str] | None:
        """Find a line of a plain multi-line text that was meant to be a key."""
        lines = self._document.lines
        for number in range(first, min(last, len(lines)) + 1):
            if last > first and looks_like_key(lines[number - 1]):
                return hint_within(lines, number, number)
        return None

    def _report(self, line: int, path: Path, text: str) -> None:
        self._document.problems.append(Problem(line, path, text))

    def _refuse(self, path: Path, text: str, line: int = 0) -> object:
        self._report(line or self._document.places[path].line, path, text)
        self._document.broken.add(path)
        return BROKEN


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _substitute(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Replace ``${NAME}``, and ``$${`` by ``${``; return the text and the problems of its references."""
    problems: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            problems.append('has a "${" without a name and "}"; write ${NAME}, or $${ for "${" itself')
        elif name not in environ:
            problems.append(f"the environment variable {name} is not set")
        return environ.get(name or "", "")

    return _REFERENCE.sub(replacement, text), problems
