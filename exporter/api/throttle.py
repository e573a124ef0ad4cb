"""How fast the API is asked: a ceiling shared by all threads, and a pause after "too many requests"."""

import threading
import time
from collections.abc import Callable
from typing import Final

from exporter.errors import ThrottledError

_BURST: Final = 0.1
"""Share of a minute's requests that may go out at once."""

_PAUSE_S: Final = 30.0
"""How long to hold back after a throttled answer that names no time."""

_LONGEST_PAUSE_S: Final = 300.0


class Throttle:
    """At most so many requests in any minute, whatever the number of threads.

    Args:
        max_requests_per_minute: the ceiling.
        clock: monotonic seconds.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        max_requests_per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.requests_per_minute = max_requests_per_minute
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._burst = max(1.0, max_requests_per_minute * _BURST)
        self._spacing = 60.0 / max(0.5, max_requests_per_minute - self._burst)
        self._next = clock()
        self._resume = self._next

    def acquire(self) -> None:
        """Wait until one more request may go out."""
        go_at = self._turn()
        while True:
            left = go_at - self._clock()
            if left > 0:
                self._sleep(left)
            elif go_at >= self._resume:
                return
            else:  # a pause has begun while this thread waited for its turn
                go_at = self._turn()

    def _turn(self) -> float:
        with self._lock:
            now = self._clock()
            go_at = max(now, self._resume, self._next - (self._burst - 1) * self._spacing)
            self._next = max(self._next, now) + self._spacing
            return go_at

    def throttled(self, error: ThrottledError) -> None:
        """The service said "too many requests": nothing goes out until it may have forgotten."""
        pause = _PAUSE_S if error.retry_after is None else min(error.retry_after, _LONGEST_PAUSE_S)
        with self._lock:
            self._resume = max(self._resume, self._clock() + pause)
            self._next = max(self._next, self._resume + (self._burst - 1) * self._spacing)
