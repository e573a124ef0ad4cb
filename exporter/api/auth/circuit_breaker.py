"""When credentials may go out: pauses after refusals, one request first with those nobody has seen work."""

import threading
from collections.abc import Callable
from typing import Final

from exporter.errors import CredentialsError
from exporter.text import format_utc as when

Clock = Callable[[], float]
"""Seconds since the epoch."""

MINUTE: Final = 60.0

_LONGEST_PAUSE: Final = 10 * MINUTE


class Pause:
    """Nothing is sent for a while, longer after each failure; a success ends it."""

    def __init__(self, clock: Clock, first: float, longest: float) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._since = 0.0
        self._length = 0.0

    def begin(self, at_least: float = 0.0) -> None:
        """Pause from now on, twice as long as the last time."""
        self._since = self._clock()
        self._length = min(max(self._first, 2 * self._length), self._longest)
        self._length = max(self._length, min(at_least, _LONGEST_PAUSE))

    def end(self) -> None:
        """The pause is over, and the next one short again."""
        self._length = 0.0

    def left(self) -> float:
        """Seconds; none when the clock was set back, or the pause might last for hours."""
        gone = self._clock() - self._since
        return self._length - gone if 0 <= gone < self._length else 0.0


def pause_after_refusal(clock: Clock) -> Pause:
    """The pause of rule 1."""
    return Pause(clock, MINUTE, _LONGEST_PAUSE)


class Gate:
    """Rules 1 and 2: what may go out with credentials that were refused, or that nobody has seen work.

    It is open once an answer was good. Otherwise one thread passes, and the others wait for `accepted` or
    `refused`; when neither comes in time, it opens: a slow API is no reason to stand still.
    """

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._pause = pause_after_refusal(clock)
        self._news = threading.Condition()
        self._open = False
        self._proven = False
        self._first: int | None = None

    def enter(self) -> None:
        """Pass, or wait to be let through.

        Raises:
            CredentialsError: they were refused a short while ago.
        """
        if self._open:
            return
        me = threading.get_ident()
        with self._news:
            while not self._open:
                self._stop_after_refusal()
                if self._first in (None, me):
                    self._first = me
                    return
                if not self._news.wait(self._patience):
                    self._stop_after_refusal()
                    self._open = True

    def withdraw(self) -> None:
        """Nothing was sent after all: somebody else goes first."""
        with self._news:
            if self._first == threading.get_ident():
                self._first = None
                self._news.notify()

    def accepted(self) -> None:
        """The credentials are good: open to all."""
        if self._proven:
            return
        with self._news:
            self._proven = self._open = True
            self._pause.end()
            self._news.notify_all()

    def refused(self, *, alone: bool = False) -> None:
        """The credentials are not good: closed for a while, unless one operation ``alone`` refuses them."""
        if alone:
            self.withdraw()
            return
        with self._news:
            if not self._pause.left():  # one pause for all requests that were under way
                self._pause.begin()
            self._doubt()

    def is_paused(self) -> bool:
        """Whether nothing goes out at present."""
        return self._pause.left() > 0

    def replaced(self) -> None:
        """There are other credentials now: the pause is over, and they have to prove themselves."""
        with self._news:
            self._pause.end()
            self._doubt()

    def _doubt(self) -> None:
        self._proven = self._open = False
        self._first = None
        self._news.notify_all()

    def _stop_after_refusal(self) -> None:
        left = self._pause.left()
        if left:
            again = when(self._clock() + left)
            raise CredentialsError(
                f"the API refused the credentials; tried again at {again}", code="401", retry_after=left
            )
