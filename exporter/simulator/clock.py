"""Time for the simulator: the fleet's own, real or moved by hand."""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""


class RealClock:
    """The wall clock, or one that starts with it and runs faster.

    Callers choose the days they ask for by their own clock: a fleet that has run more than a day
    ahead of them can no longer be seen by them.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._origin_ms = time.time() * 1000
        self._started = time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        if self._speed == 1.0:
            return int(time.time() * 1000)
        return int(self._origin_ms + (time.monotonic() - self._started) * 1000 * self._speed)


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return self._now_ms

    def advance(self, seconds: float) -> None:
        """Moves the clock on; never back.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError("a clock does not go back")
        with self._lock:
            self._now_ms += round(seconds * 1000)
