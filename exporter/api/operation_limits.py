"""Rate limits of the operations, each its own or one that several share; pure.

The gateway limits each operation by itself, or several together, and does not say which. Both are learnt,
each limit as an `AdaptiveRateLimit`.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from exporter.api.adaptive_rate_limit import FIRST_PAUSE_S, WINDOW_S, AdaptiveRateLimit, Learnt

_BLOCKED: Final = 4
"""The service as a whole refuses requests if it has refused so many in a row."""

_REFUSED_ALONE: Final = 3
"""A shared limit is wrong if one operation is refused so often in a row while others are accepted."""

_IMPROBABLE: Final = 0.001
"""Chance below which it is believed that a shared limit does not explain whom it has refused."""


@dataclass(slots=True)
class _Operation:
    """One operation: its limit, and when it was last throttled.

    Attributes:
        limit: its own limit.
        throttled_at: when it was last throttled.
        had_room: far fewer requests than its limit had been accepted then.
        before: what its limit had learnt before it was throttled within the last minute.
        is_refused: its last response was a throttled one.
        others_accepted: another operation's request was accepted since then.
        refused_alone: throttled responses in a row, each after another operation's request was accepted.
    """

    limit: AdaptiveRateLimit
    throttled_at: float = float("-inf")
    had_room: bool = False
    before: Learnt = (None, 0.0, 0.0, False)
    is_refused: bool = False
    others_accepted: bool = False
    refused_alone: int = 0

    def seems_innocent(self, now: float) -> bool:
        """Return whether it was throttled within the last minute though its own limit does not explain it."""
        return now - self.throttled_at < WINDOW_S and self.had_room and not self.refused_alone


class OperationLimits:
    """A ceiling over all operations, a limit for each, and a shared one if only that explains the refusals.

    The shared limit is inferred if two operations are throttled within a minute, each with far fewer requests
    than its own limit. If those are not known yet, nothing at all must be accepted for some time. It is given
    up if the operations together outgrow it, if one of them is throttled again and again while others are
    accepted, or if in the long run it is only some of them that are throttled. Times are monotonic seconds.

    Attributes:
        is_shared: a shared limit is inferred at present.
    """

    def __init__(self, ceiling: float, now: float) -> None:
        self._all = AdaptiveRateLimit(ceiling, now)
        self._unlearnt = self._all.learnt
        self._operations: defaultdict[str, _Operation] = defaultdict(
            lambda: _Operation(AdaptiveRateLimit(self.ceiling, now))
        )
        self._refused_in_a_row = 0
        self._accepted_at = now
        self._refused: set[str] = set()
        self._chance = 1.0
        self.is_shared = False

    @property
    def ceiling(self) -> float:
        """Requests per minute that all operations together may send at most."""
        return self._all.ceiling

    @ceiling.setter
    def ceiling(self, ceiling: float) -> None:
        for limit in (self._all, *(operation.limit for operation in self._operations.values())):
            limit.ceiling = ceiling

    def limit(self, operation: str, now: float) -> float:
        """Return the requests per minute allowed to an operation if no other one sends any."""
        return min(self._all.limit(now), self._operations[operation].limit.limit(now))

    def next_send_at(self, operation: str, now: float, *, yields: bool = False) -> float:
        """Return when the next request of an operation may be sent; see `AdaptiveRateLimit.next_send_at`.

        One that ``yields`` does so under the ceiling and the shared limit.
        """
        own = self._operations[operation].limit.next_send_at(now)
        return max(own, self._all.next_send_at(now, yields=yields))

    def sent(self, operation: str, now: float) -> None:
        """Record that a request is sent."""
        self._operations[operation].limit.sent(now)
        self._all.sent(now)

    def accepted(self, operation: str, now: float) -> None:
        """Record a response other than "too many requests"."""
        self._refused_in_a_row, self._accepted_at = 0, now
        accepted = self._operations[operation]
        accepted.limit.accepted(now)
        accepted.is_refused, accepted.refused_alone = False, 0
        for other in self._operations.values():
            other.others_accepted = other.others_accepted or other is not accepted
        self._all.accepted(now)
        if self.is_shared and self._all.is_outgrown(now):
            self._give_up()

    def throttled(
        self, operation: str, now: float, retry_after: float | None, announced: float | None
    ) -> None:
        """Record a "too many requests" response, with the wait and the limit per minute that it names."""
        self._refused_in_a_row += 1
        refused = self._operations[operation]
        if now - refused.throttled_at >= WINDOW_S:
            refused.before = refused.limit.learnt
        refused.refused_alone += refused.is_refused and refused.others_accepted
        refused.is_refused, refused.others_accepted = True, False
        refused.had_room = refused.limit.has_room(now)
        refused.throttled_at = now
        if self.is_shared and (refused.refused_alone >= _REFUSED_ALONE or self._is_one_sided(operation, now)):
            self._give_up()
        elif not self.is_shared and self._is_unexplained(refused, now):
            self._share(now)
        if self.is_shared and refused.had_room:
            self._all.throttled(now, retry_after, None)
            if announced is not None:
                refused.limit.announced(now, announced)
        else:
            refused.limit.throttled(now, retry_after, announced)

    def _is_unexplained(self, refused: _Operation, now: float) -> bool:
        """Return whether only a shared limit explains this throttled response and an earlier one."""
        is_blocked = self._refused_in_a_row >= _BLOCKED and now - self._accepted_at >= FIRST_PAUSE_S
        return refused.seems_innocent(now) and any(
            other is not refused
            and other.seems_innocent(now)
            and (is_blocked or (other.limit.is_known and refused.limit.is_known))
            for other in self._operations.values()
        )

    def _is_one_sided(self, operation: str, now: float) -> bool:
        """Return whether it is improbable that a shared limit has refused these operations only.

        It refuses at random: each time, the chance that it is one of them is their share of the requests.
        """
        if self._refused_in_a_row > 1:
            return False
        if operation not in self._refused:
            self._refused.add(operation)
            self._chance = 1.0
            return False
        accepted = sum(self._operations[each].limit.accepted_lately(now) for each in self._refused)
        self._chance *= accepted / max(1, self._all.accepted_lately(now))
        return self._chance < _IMPROBABLE

    def _share(self, now: float) -> None:
        """Infer a shared limit; what the operations have learnt in the last minute was due to it."""
        self.is_shared = True
        self._refused.clear()
        for operation in self._operations.values():
            operation.refused_alone = 0
            if now - operation.throttled_at < WINDOW_S:
                operation.limit.learnt = operation.before

    def _give_up(self) -> None:
        """Drop a shared limit that has proved wrong."""
        self.is_shared = False
        self._all.learnt = self._unlearnt
