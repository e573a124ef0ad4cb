"""The throttle, one queue for the requests of all threads: limits decide when, fairness decides which one.

An operation that has to wait for its own limit holds up no other. Under the ceiling and a shared limit,
operations take turns by weight (start-time fair queueing): details of finished builds first, lists later.
Side operations yield to all of them.
"""

import threading
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final, NamedTuple

from exporter.api.operation_limits import OperationLimits
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

SIDE_OPERATIONS: Final = frozenset({"full-stages", "projects", "recycling-jobs"})
"""Operations that counting does not wait for."""

YIELDS_FOR_S: Final = 5.0
"""A side operation yields that long; then it takes its turn, so that it is slow but never starves."""


class _Ticket(NamedTuple):
    """A waiting request.

    Attributes:
        turn: the smallest one is served first.
        order: of arrival.
        since: when it began to wait.
    """

    turn: float
    order: int
    operation: str
    since: float

    def yields(self, now: float) -> bool:
        """Return whether others go first."""
        return self.operation in SIDE_OPERATIONS and now - self.since < YIELDS_FOR_S


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
        self._limits = OperationLimits(max_requests_per_minute, clock())
        self._turn = threading.Condition()
        self._queue: list[_Ticket] = []
        self._order = count()
        self._served = 0.0
        self._shares: dict[str, float] = {}

    def requests_per_minute(self, operation: str) -> float:
        """Return the current limit of an operation."""
        with self._turn:
            return self._limits.limit(operation, self._clock())

    def wait_s(self, operation: str) -> float:
        """Return the seconds that a request of a side operation would have to wait now."""
        with self._turn:
            now = self._clock()
            return self._limits.next_send_at(operation, now, yields=True) - now

    def acquire(self, operation: str, is_cancelled: Callable[[], bool] = lambda: False) -> bool:
        """Wait until one more request of that operation may be sent; False if it was cancelled.

        Waiting threads check ``is_cancelled`` again on `wake`.
        """
        with self._turn:
            ticket = self._ticket(operation)
            self._queue.append(ticket)
            is_new, slept = True, False
            while not is_cancelled():
                now = self._clock()
                send_at, first = self._next(now)
                if first is ticket and send_at <= now:
                    self._queue.remove(ticket)
                    self._served = max(self._served, ticket.turn)
                    self._limits.sent(operation, now)
                    self._turn.notify_all()
                    return True
                # Which became the next meanwhile, or may be sent earlier than its thread expects.
                if first is not ticket and (slept or (is_new and send_at <= now)):
                    self._turn.notify_all()
                is_new, slept = False, first is ticket
                self._wait(self._turn, send_at - now if slept else None)
            self._queue.remove(ticket)
            self._shares[operation] -= _share(operation)
            self._turn.notify_all()
            return False

    def wake(self) -> None:
        """Make waiting threads check again whether their request was cancelled."""
        with self._turn:
            self._turn.notify_all()

    def set_ceiling(self, max_requests_per_minute: float) -> None:
        """Replace the ceiling; the limits learnt below it stay."""
        with self._turn:
            self._limits.ceiling = max_requests_per_minute
            self._turn.notify_all()

    def accepted(self, operation: str) -> None:
        """Record a response other than "too many requests"."""
        with self._turn:
            self._limits.accepted(operation, self._clock())

    def throttled(self, operation: str, error: ThrottledError) -> None:
        """Record a "too many requests" response."""
        with self._turn:
            self._limits.throttled(operation, self._clock(), error.retry_after, error.limit_per_minute)
            self._turn.notify_all()

    def _ticket(self, operation: str) -> _Ticket:
        start = max(self._served, self._shares.get(operation, 0.0))
        self._shares[operation] = start + _share(operation)
        return _Ticket(self._shares[operation], next(self._order), operation, self._clock())

    def _next(self, now: float) -> tuple[float, _Ticket]:
        """Return when the next waiting request may be sent, and which one it is."""
        kinds = {(ticket.operation, ticket.yields(now)) for ticket in self._queue}
        send_at = {
            (operation, yields): self._limits.next_send_at(operation, now, yields=yields)
            for operation, yields in kinds
        }

        def rank(ticket: _Ticket) -> tuple[float, bool, _Ticket]:
            yields = ticket.yields(now)
            return send_at[ticket.operation, yields], yields, ticket

        first = min(self._queue, key=rank)
        return rank(first)[0], first


def _share(operation: str) -> float:
    return 1 / WEIGHTS.get(operation, 1)
