"""Progress bars, and messages printed while one is shown."""

import io
import sys
from collections.abc import Iterator

import pytest

from exporter.cli.backfill import estimate, follow, say


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def steps() -> Iterator[int]:
    yield 1
    say("throttled: waiting")
    yield 2


def test_a_message_on_a_terminal_replaces_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    follow(steps(), 2, "builds")
    assert "\r\x1b[Kthrottled: waiting\n" in terminal.getvalue()
    assert "builds" in terminal.getvalue()


def test_without_a_terminal_progress_is_printed_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    follow(steps(), 2, "builds")
    assert capsys.readouterr().err == "builds: 1 of 2\nthrottled: waiting\nbuilds: 2 of 2\n"


@pytest.mark.parametrize(
    ("requests", "length"),
    [
        (3, "less than a minute"),
        (299, "less than a minute"),
        (300, "at least 1 min"),
        (600, "at least 2 min"),
        (36_000, "at least 2.0 hours"),
    ],
)
def test_estimated_duration_of_requests(requests: int, length: str) -> None:
    assert estimate(requests, 300) == f"{requests:,} requests, {length} at 300 a minute"
