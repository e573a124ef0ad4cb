"""Lines between the steps of a bar."""

import io
import sys
from collections.abc import Iterator

import pytest

from exporter.cli.progress import follow, say, takes


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def steps() -> Iterator[int]:
    yield 1
    say("throttled: waiting")
    yield 2


def test_a_line_on_a_terminal_takes_the_place_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    follow(steps(), 2, "builds")
    assert "\r\x1b[Kthrottled: waiting\n" in terminal.getvalue()
    assert "builds" in terminal.getvalue()


def test_without_a_terminal_there_are_lines_alone(capsys: pytest.CaptureFixture[str]) -> None:
    follow(steps(), 2, "builds")
    assert capsys.readouterr().err == "builds: 1 of 2\nthrottled: waiting\nbuilds: 2 of 2\n"


@pytest.mark.parametrize(
    ("questions", "length"),
    [
        (3, "less than a minute"),
        (299, "less than a minute"),
        (300, "at least 1 min"),
        (600, "at least 2 min"),
        (36_000, "at least 2.0 hours"),
    ],
)
def test_it_is_told_how_long_questions_take(questions: int, length: str) -> None:
    assert takes(questions, 300) == f"{questions:,} questions, {length} at 300 a minute"
