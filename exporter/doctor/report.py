"""The report: findings by section, and how they become lines for a terminal. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from unicodedata import combining, east_asian_width

from exporter.humanize import plural
from exporter.redaction import clean

RUN_AGAIN: Final = "run this again later"


class Mark(StrEnum):
    """Severity of a finding."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        text: a sentence without its full stop.
        todo: the remedy: always set for a problem, for a note where something could be better.
    """

    mark: Mark
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Findings on one subject."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All sections."""

    sections: tuple[Section, ...]

    def count(self, mark: Mark) -> int:
        """Return the number of findings with that mark."""
        return sum(finding.mark is mark for section in self.sections for finding in section.findings)

    @property
    def changes(self) -> tuple[str, ...]:
        """Suggestions of the notes."""
        findings = (finding for section in self.sections for finding in section.findings)
        return tuple(dict.fromkeys(f.todo for f in findings if f.mark is Mark.NOTE and f.todo))


def ok(text: str) -> Finding:
    """Make a finding that something is as it should be."""
    return Finding(Mark.OK, text)


def note(text: str, todo: str = "") -> Finding:
    """Make a finding worth knowing."""
    return Finding(Mark.NOTE, text, todo)


def problem(text: str, todo: str) -> Finding:
    """Make a finding that something is wrong."""
    return Finding(Mark.PROBLEM, text, todo)


WIDTH: Final = 100

Paint = Callable[[Mark, str], str]
"""Adds colour to the word of a mark."""

_INDENT: Final = "  "

_COLUMN: Final = len(_INDENT) + max(map(len, Mark)) + 2


def lines_of(report: Report, paint: Paint = lambda _, word: word) -> Iterator[str]:
    """Format all sections, suggestions, and the summary; without ``paint``, in no colour."""
    for section in report.sections:
        yield ""
        yield section.title
        before = ""
        for finding in section.findings:
            yield from _lines(finding, paint, before)
            before = finding.todo
    if report.changes:
        yield ""
        yield "What to change"
        for number, change in enumerate(report.changes, 1):
            yield from wrapped(change, first := f"{_INDENT}{number}. ", len(first))
    yield ""
    yield summary(report)


def summary(report: Report) -> str:
    """Summarize the report in one line."""
    problems, notes = report.count(Mark.PROBLEM), report.count(Mark.NOTE)
    return f"{plural(problems, 'problem') if problems else 'No problem'}, {plural(notes, 'note')}."


def _lines(finding: Finding, paint: Paint, before: str) -> Iterator[str]:
    """Format a finding and its remedy; ``before`` is the remedy of the finding before it."""
    mark = paint(finding.mark, finding.mark.value)
    first = _INDENT + mark + " " * (_COLUMN - len(_INDENT) - len(finding.mark.value))
    yield from wrapped(finding.text, first, _COLUMN)
    if finding.mark is Mark.PROBLEM:
        todo = "the same" if finding.todo == before else finding.todo
        yield from wrapped(f"what to do: {todo}", " " * _COLUMN, _COLUMN)


def wrapped(text: str, first: str = "", column: int = 0) -> Iterator[str]:
    """Wrap text at `WIDTH` columns, without control characters, since names come from outside.

    Args:
        text: broken between words, and within a word that is longer than a line.
        first: prefix of the first line, up to ``column``; may contain colours.
        column: indentation of the other lines.
    """
    pieces = _pieces(clean(text), WIDTH - column)
    yield first + pieces[0]
    yield from (" " * column + piece for piece in pieces[1:])


def _pieces(text: str, width: int) -> list[str]:
    pieces = [""]
    for word in text.split():
        joined = f"{pieces[-1]} {word}".lstrip()
        if columns(joined) <= width:
            pieces[-1] = joined
            continue
        *whole, rest = _cut(word, width)
        pieces = [*filter(None, pieces), *whole, rest]
    return pieces


def _cut(word: str, width: int) -> list[str]:
    """Cut a word into pieces that fit; usually one."""
    pieces = [""]
    for character in word:
        if columns(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces


def columns(text: str) -> int:
    """Return the columns that a text takes: two for a Chinese character, none for a combining mark."""
    return sum(
        0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1 for character in text
    )
