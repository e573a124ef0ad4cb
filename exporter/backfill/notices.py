"""What is told to a person while a backfill waits for others."""

import threading
import time
from collections.abc import Callable
from typing import Final

_QUIET_S: Final = 60.0
"""Trouble of one kind is told again after so long, if it still lasts."""


class Notices:
    """Hands lines to whoever shows them; safe to share between threads.

    Args:
        say: takes a line.
        clock: monotonic seconds.
    """

    def __init__(self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.say = say
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until: dict[str, float] = {}

    def trouble(self, kind: str, text: str) -> None:
        """Say that something is waited for; of one kind no more than a line a minute."""
        with self._lock:
            now = self._clock()
            if now < self._quiet_until.get(kind, now):
                return
            self._quiet_until[kind] = now + _QUIET_S
        self.say(text)
