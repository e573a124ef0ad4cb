"""The throttle, one queue for the requests of all threads: limits decide when, fairness decides which one.

An operation that has to wait for its own limit holds up no other. Where tasks share threads, only some of the
threads wait; further requests are turned away until a time of their own. Under the ceiling and a shared
limit, operations take turns by weight (start-time fair queueing): details of finished builds first, lists
later. Side operations yield to all of them.
"""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import count
from typing import Final, NamedTuple, NoReturn

from exporter.api.adaptive_rate_limit import WINDOW_S
from exporter.api.operation_limits import OperationLimits
from exporter.errors import HeldError, ThrottledError

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

POLLS: Final = frozenset({"period-history", "records", "record-info", "full-stages"})
"""Operations whose tasks share their threads; the others have threads of their own, and may wait."""

LONGEST_PAUSE_S: Final = 5.0
"""Longest pause of one operation that a thread waits for if others could do something else meanwhile."""

SHORT_S: Final = 1.0
"""One thread may always wait that long for the limit of one operation."""

_LATEST_S: Final = 60.0
"""A request that is turned away comes again so long after the queue that it found, at the latest; if more are
turned away than can be sent until then, several come at the same time."""


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


class _Places:
    """Times at which requests that were turned away may come again, one after the other."""

    def __init__(self) -> None:
        self._place: dict[str, float] = {}
        self._last = 0.0

    def of(self, request: str, now: float, earliest: float, spacing: float) -> float:
        """Return the time of a request: the one that it has already, or one after that of the last.

        One that came a little too early for its time, since that has moved, comes again at once.
        """
        place = self._place.get(request, -math.inf)
        if place > now and place >= earliest - _LATEST_S:
            return place
        if place > now - spacing and earliest < now + spacing / 2:
            return earliest
        self._place = {other: at for other, at in self._place.items() if at > now - _LATEST_S}
        self._last += spacing
        if not earliest <= self._last <= earliest + _LATEST_S:
            self._last = earliest
        self._place[request] = self._last
        return self._last


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
        self._places: defaultdict[str, _Places] = defaultdict(_Places)

    def requests_per_minute(self, operation: str) -> float:
        """Return the current limit of an operation."""
        with self._turn:
            return self._limits.limit(operation, self._clock())

    def wait_s(self, operation: str) -> float:
        """Return the seconds that a request of a side operation would have to wait now."""
        with self._turn:
            now = self._clock()
            return self._limits.next_send_at(operation, now, yields=True) - now

    def acquire(
        self,
        operation: str,
        is_cancelled: Callable[[], bool] = lambda: False,
        max_waiting: float | None = None,
        request: str = "",
    ) -> bool:
        """Wait until one more request of that operation may be sent; False if it was cancelled.

        Waiting threads check ``is_cancelled`` again on `wake`. With ``max_waiting``, no more threads wait for
        the operation's own limit, and none for its pause. ``request`` identifies one that comes again.

        Raises:
            HeldError: the request was turned away.
        """
        with self._turn:
            if max_waiting is not None:
                held_s = self._limits.held_s(operation, self._clock())
                if held_s > 0 and self._waiting(operation) >= max(max_waiting, held_s <= SHORT_S):
                    self._turn_away(operation, request, held_s)
            ticket = self._ticket(operation)
            self._queue.append(ticket)
            is_new, slept = True, False
            while not is_cancelled():
                now = self._clock()
                pause_s = self._limits.pause_s(operation, now)
                if max_waiting is not None and pause_s > LONGEST_PAUSE_S:
                    self._leave(ticket)
                    self._turn_away(operation, request, pause_s)
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
            self._leave(ticket)
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

    def _waiting(self, operation: str) -> int:
        return sum(ticket.operation == operation for ticket in self._queue)

    def _turn_away(self, operation: str, request: str, held_s: float) -> NoReturn:
        """Raise a `HeldError` with the time after which the request finds the limit free."""
        now = self._clock()
        spacing = WINDOW_S / self._limits.limit(operation, now)
        earliest = now + held_s + self._waiting(operation) * spacing
        raise HeldError(operation, self._places[operation].of(request, now, earliest, spacing) - now)

    def _leave(self, ticket: _Ticket) -> None:
        """Take a ticket out of the queue without a request."""
        self._queue.remove(ticket)
        self._shares[ticket.operation] -= _share(ticket.operation)
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
