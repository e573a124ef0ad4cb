"""A report as lines for a terminal; pure."""

from collections.abc import Callable, Iterator
from textwrap import wrap
from typing import Final

from exporter.doctor.findings import Finding, Mark, Report

WIDTH: Final = 100

Paint = Callable[[Mark, str], str]
"""Colours the word of a mark, or leaves it as it is."""

_INDENT: Final = "  "
_COLUMN: Final = len(_INDENT) + max(map(len, Mark)) + 2


def plain(_: Mark, word: str) -> str:
    """No colour."""
    return word


def lines_of(report: Report, paint: Paint = plain) -> Iterator[str]:
    """The report from top to bottom, its last line the summary."""
    for section in report.sections:
        yield ""
        yield section.title
        for finding in section.findings:
            yield from _lines(finding, paint)
    if report.changes:
        yield ""
        yield "What to change"
        for number, change in enumerate(report.changes, 1):
            yield from _wrapped(f"{_INDENT}{number}. ", change, len(_INDENT) + 3)
    yield ""
    yield summary(report)


def summary(report: Report) -> str:
    """One line for all of it."""
    problems, notes = report.count(Mark.PROBLEM), report.count(Mark.NOTE)
    if problems:
        return f"{counted(problems, 'problem')}, {counted(notes, 'note')}."
    return f"All is well, with {counted(notes, 'note')}." if notes else "All is well."


def counted(number: int, word: str) -> str:
    """As ``1 job`` or ``2 jobs``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _lines(finding: Finding, paint: Paint) -> Iterator[str]:
    mark = paint(finding.mark, finding.mark.value)
    first = _INDENT + mark + " " * (_COLUMN - len(_INDENT) - len(finding.mark.value))
    yield from _wrapped(first, finding.text, _COLUMN)
    if finding.mark is Mark.PROBLEM:
        yield from _wrapped(" " * _COLUMN, f"what to do: {finding.todo}", _COLUMN)


def _wrapped(first: str, text: str, column: int) -> Iterator[str]:
    """Lines of at most `WIDTH` characters, without what a terminal would obey: names come from outside."""
    shown = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    pieces = wrap(shown, WIDTH - column, break_long_words=False, break_on_hyphens=False) or [""]
    yield first + pieces[0]
    yield from (" " * column + piece for piece in pieces[1:])
