"""One queue for the requests of all threads: the rate limit decides when, fairness decides which one.

Operations take turns by weight (start-time fair queueing): details of finished builds first, lists later,
stages last, and none of them starves.
"""

import threading
import time
from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from exporter.api.rate_limiter import AdaptiveRateLimit
from exporter.errors import ThrottledError

WEIGHTS: Final[Mapping[str, int]] = {
    "record-info": 8,
    "period-history": 4,
    "records": 4,
    "job-list": 2,
    "project-job-list": 2,
    "full-stages": 1,
    "projects": 1,
    "recycling-jobs": 1,
}
"""Shares of the budget when it is short."""


class Throttle:
    """Request queue with a ceiling of requests per minute, and a lower limit if the service throttles.

    ``clock`` returns monotonic seconds; ``wait`` waits on the condition that long, or until it is notified.
    """

    def __init__(
        self,
        max_requests_per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._limit = AdaptiveRateLimit(max_requests_per_minute, clock())
        self._turn = threading.Condition()
        self._queue: list[tuple[float, int]] = []
        self._order = count()
        self._served = 0.0
        self._shares: dict[str, float] = {}

    @property
    def requests_per_minute(self) -> float:
        """The current limit."""
        with self._turn:
            return self._limit.limit(self._clock())

    def acquire(self, operation: str, is_cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until one more request of that operation may be sent; False if it was cancelled.

        Waiting threads check ``is_cancelled`` again on `wake`.
        """
        with self._turn:
            ticket = self._ticket(operation)
            heappush(self._queue, ticket)
            while not is_cancelled():
                now = self._clock()
                send_at = self._limit.next_send_at(now)
                if self._queue[0] is ticket and send_at <= now:
                    heappop(self._queue)
                    self._served = ticket[0]
                    self._limit.sent(now)
                    self._turn.notify_all()
                    return True
                self._wait(self._turn, send_at - now if self._queue[0] is ticket else None)
            self._queue.remove(ticket)
            heapify(self._queue)
            self._shares[operation] -= _share(operation)
            self._turn.notify_all()
            return False

    def wake(self) -> None:
        """Make waiting threads check again whether their request was cancelled."""
        with self._turn:
            self._turn.notify_all()

    def set_ceiling(self, max_requests_per_minute: float) -> None:
        """Replace the ceiling; the limit learnt below it stays."""
        with self._turn:
            self._limit.ceiling = max_requests_per_minute
            self._turn.notify_all()

    def accepted(self) -> None:
        """Record a response other than "too many requests"."""
        with self._turn:
            self._limit.accepted(self._clock())

    def throttled(self, error: ThrottledError) -> None:
        """Record a "too many requests" response."""
        with self._turn:
            self._limit.throttled(self._clock(), error.retry_after, error.limit_per_minute)
            self._turn.notify_all()

    def _ticket(self, operation: str) -> tuple[float, int]:
        start = max(self._served, self._shares.get(operation, 0.0))
        self._shares[operation] = start + _share(operation)
        return self._shares[operation], next(self._order)


def _share(operation: str) -> float:
    return 1 / WEIGHTS.get(operation, 1)
