"""What an examination comes to: findings in sections, each with a mark in words; pure."""

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        text: a sentence for a person, without its full stop.
        todo: what to do about it: of a problem always there, of a note where something could be better.
    """

    mark: Mark
    text: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Findings about one thing."""

    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    sections: tuple[Section, ...]

    def count(self, mark: Mark) -> int:
        """How many findings have that mark."""
        return sum(finding.mark is mark for section in self.sections for finding in section.findings)

    @property
    def changes(self) -> tuple[str, ...]:
        """What could be better, as the notes have it."""
        notes = (finding for section in self.sections for finding in section.findings)
        return tuple(dict.fromkeys(note.todo for note in notes if note.mark is Mark.NOTE and note.todo))


def ok(text: str) -> Finding:
    """Something is as it should be."""
    return Finding(Mark.OK, text)


def note(text: str, todo: str = "") -> Finding:
    """Something is worth to be known."""
    return Finding(Mark.NOTE, text, todo)


def problem(text: str, todo: str) -> Finding:
    """Something is wrong."""
    return Finding(Mark.PROBLEM, text, todo)
