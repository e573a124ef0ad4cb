"""One queue for all threads that want to ask the API: the pace says when, fairness says who.

Operations take turns by weight (start-time fair queueing): details of finished builds first, lists later,
stages last, and none of them starves.
"""

import threading
import time
from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from exporter.api.rate_limiter import Pace
from exporter.errors import ThrottledError

WEIGHTS: Final[Mapping[str, int]] = {
    "record-info": 8,
    "period-history": 4,
    "job-list": 2,
    "project-job-list": 2,
    "full-stages": 1,
    "projects": 1,
    "recycling-jobs": 1,
}
"""Shares of the budget where there is not enough for all."""


class Throttle:
    """At most so many requests in any minute, and fewer where the service bears less.

    Args:
        max_requests_per_minute: the ceiling.
        clock: monotonic seconds.
        wait: lets go of the condition for so many seconds, or until it is notified.
    """

    def __init__(
        self,
        max_requests_per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._pace = Pace(max_requests_per_minute, clock())
        self._turn = threading.Condition()
        self._queue: list[tuple[float, int]] = []
        self._order = count()
        self._served = 0.0
        self._shares: dict[str, float] = {}

    @property
    def requests_per_minute(self) -> float:
        """What is allowed at present."""
        with self._turn:
            return self._pace.limit(self._clock())

    def acquire(self, operation: str, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until one more request for that operation may go out.

        Args:
            operation: decides whose turn it is.
            given_up: whether nobody wants the request any more; `rouse` makes those who wait look again.

        Returns:
            Whether it may; False where it was given up.
        """
        with self._turn:
            ticket = self._ticket(operation)
            heappush(self._queue, ticket)
            while not given_up():
                now = self._clock()
                go_at = self._pace.go_at(now)
                if self._queue[0] is ticket and go_at <= now:
                    heappop(self._queue)
                    self._served = ticket[0]
                    self._pace.sent(now)
                    self._turn.notify_all()
                    return True
                self._wait(self._turn, go_at - now if self._queue[0] is ticket else None)
            self._queue.remove(ticket)
            heapify(self._queue)
            self._shares[operation] -= _share(operation)
            self._turn.notify_all()
            return False

    def rouse(self) -> None:
        """Let those who wait look whether they are still wanted."""
        with self._turn:
            self._turn.notify_all()

    def limit_to(self, max_requests_per_minute: float) -> None:
        """Exchange the ceiling; what was learnt below it stays."""
        with self._turn:
            self._pace.ceiling = max_requests_per_minute
            self._turn.notify_all()

    def accepted(self) -> None:
        """The service answered something else than "too many requests"."""
        with self._turn:
            self._pace.accepted(self._clock())

    def throttled(self, error: ThrottledError) -> None:
        """The service said "too many requests"."""
        with self._turn:
            self._pace.throttled(self._clock(), error.retry_after, error.limit_per_minute)
            self._turn.notify_all()

    def _ticket(self, operation: str) -> tuple[float, int]:
        begin = max(self._served, self._shares.get(operation, 0.0))
        self._shares[operation] = begin + _share(operation)
        return self._shares[operation], next(self._order)


def _share(operation: str) -> float:
    """What one request takes of what its operation may have."""
    return 1 / WEIGHTS.get(operation, 1)
