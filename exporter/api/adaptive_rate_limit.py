"""Adaptive rate limits: a ceiling, and below it limits learnt from "too many requests" responses; pure.

The gateway limits each operation by itself, or several together. `OperationLimits` learns both, each limit
as an `AdaptiveRateLimit`: no more than the limit is sent in any sixty seconds, evenly spaced but for a small
burst. A throttled response sets the limit a little below the number of requests accepted in the last minute.
From there it grows along a cubic (TCP CUBIC, RFC 9438): quickly back to where it was, slowly past it, and
faster again the longer nothing is throttled, so that a raised limit is found.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 60.0

MIN_LIMIT: Final = 1.0
"""Requests per minute that are always allowed."""

_BURST: Final = 0.1
_LEFT_OVER: Final = 0.1
_BACK_OFF: Final = 0.92
_BACK_OFF_AGAIN: Final = 0.75
"""Used if the previous reduction was not enough."""

_AGAIN_S: Final = 150.0
_PLATEAU_S: Final = 600.0

_ANNOUNCED_SHARE: Final = 0.96
"""Share used of a limit that the service announces."""

_ANNOUNCED_S: Final = 3600.0
"""An announced limit holds this long; then it grows as a learnt one does past its plateau."""

_HAS_ROOM: Final = 0.8
"""An operation of which less than this share of its limit was accepted has not reached it."""

_BLOCKED: Final = 4
"""The service as a whole refuses requests if it has refused so many in a row."""

_OUTGROWN: Final = 1.1
"""A shared limit is wrong if this multiple of it was accepted in a minute."""

_REFUSED_ALONE: Final = 3
"""A shared limit is wrong if one operation is refused so often in a row while others are accepted."""

_IMPROBABLE: Final = 0.001
"""Chance below which it is believed that a shared limit does not explain whom it has refused."""

_FIRST_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 60.0
_MAX_RETRY_AFTER_S: Final = 300.0


Learnt = tuple[float | None, float, float, bool]


class AdaptiveRateLimit:
    """Adaptive limit of at most ``ceiling`` requests per minute. Times are monotonic seconds."""

    def __init__(self, ceiling: float, now: float) -> None:
        self.ceiling = ceiling
        self._sent: deque[float] = deque()
        self._accepted: deque[float] = deque()
        self._next = now
        self._resume = now
        self._peak: float | None = None
        self._depth = 0.0
        self._is_measured = False
        self._learnt_at = now
        self._throttled_in_a_row = 0
        self._delayed_at = now - WINDOW_S
        self._announced: tuple[float, float] | None = None

    def limit(self, now: float) -> float:
        """Return the allowed requests per minute."""
        limit = self.ceiling
        if self._peak is not None:
            elapsed = (now - self._learnt_at) / _PLATEAU_S
            limit = min(limit, self._peak + self._depth * (elapsed - 1) ** 3)
        if self._announced:
            announced, until = self._announced
            elapsed = max(0.0, now - until) / _PLATEAU_S
            limit = min(limit, announced + announced * (1 - _BACK_OFF) * elapsed**3)
        return max(MIN_LIMIT, limit)

    def pause_s(self, now: float) -> float:
        """Return the seconds for which nothing is sent after a throttled response."""
        return max(0.0, self._resume - now)

    def next_send_at(self, now: float, *, yields: bool = False) -> float:
        """Return when the next request may be sent; at once if that is not after ``now``.

        A request that ``yields`` leaves half of the burst, and a tenth of the minute, to others.
        """
        limit = self.limit(now)
        while self._sent and self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        allowed = max(1, min(int(self.ceiling), round(limit * (1 - _LEFT_OVER if yields else 1))))
        window = self._sent[-allowed] + WINDOW_S if len(self._sent) >= allowed else now
        spacing = WINDOW_S / limit
        burst = max(0.0, limit * (_BURST / 2 if yields else _BURST) - 1) * spacing
        allowed_at = max(now, window, self._next - burst)
        if allowed_at > now:
            self._delayed_at = now
        return max(allowed_at, self._resume)

    def sent(self, now: float) -> None:
        """Record that a request is sent."""
        self._sent.append(now)
        self._next = max(self._next, now) + WINDOW_S / self.limit(now)

    def accepted(self, now: float) -> None:
        """Record a response other than "too many requests"."""
        self._throttled_in_a_row = 0
        self._accepted.append(now)
        self.accepted_lately(now)

    def throttled(self, now: float, retry_after: float | None, announced: float | None) -> None:
        """Record a "too many requests" response, with the wait and the limit per minute that it names.

        Several that arrive together lengthen the pause as one does: they were sent before it began.
        """
        is_first = self._throttled_in_a_row == 0
        if is_first or now >= self._resume:
            self._throttled_in_a_row += 1
        pause = min(_FIRST_PAUSE_S * 2 ** min(self._throttled_in_a_row - 1, 16), _MAX_PAUSE_S)
        if retry_after is not None:
            pause = min(retry_after, _MAX_RETRY_AFTER_S)
        self._resume = max(self._resume, now + pause)
        if announced is not None:
            self.announced(now, announced)
        if is_first:
            self._learn(now)

    def announced(self, now: float, limit: float) -> None:
        """Record the limit per minute that the service names."""
        self._announced = (max(MIN_LIMIT, limit * _ANNOUNCED_SHARE), now + _ANNOUNCED_S)

    @property
    def learnt(self) -> Learnt:
        """State learnt from throttled responses, without what was announced; can be set again."""
        return self._peak, self._depth, self._learnt_at, self._is_measured

    @learnt.setter
    def learnt(self, learnt: Learnt) -> None:
        self._peak, self._depth, self._learnt_at, self._is_measured = learnt

    @property
    def is_known(self) -> bool:
        """A limit was announced, or learnt from the number of accepted requests."""
        return self._is_measured or self._announced is not None

    def accepted_lately(self, now: float) -> int:
        """Return the number of requests accepted in the last minute."""
        while self._accepted and self._accepted[0] <= now - WINDOW_S:
            self._accepted.popleft()
        return len(self._accepted)

    def has_room(self, now: float) -> bool:
        """Return whether far fewer requests than allowed were accepted in the last minute."""
        return self.accepted_lately(now) < _HAS_ROOM * self.limit(now)

    def is_outgrown(self, now: float) -> bool:
        """Return whether clearly more than the learnt limit was accepted in the last minute."""
        return self._peak is not None and self.accepted_lately(now) > _OUTGROWN * self._peak

    def _learn(self, now: float) -> None:
        limit = self.limit(now)
        accepted = self.accepted_lately(now)
        peak = max(MIN_LIMIT, min(limit, accepted))
        self._is_measured = now - self._delayed_at < WINDOW_S
        if not self._is_measured:  # few requests were sent: their number says little
            peak = max(peak, limit if self._announced else limit * _BACK_OFF_AGAIN)
        again = self._peak is not None and now - self._learnt_at < _AGAIN_S
        self._peak = peak
        self._depth = peak * (1 - (_BACK_OFF_AGAIN if again else _BACK_OFF))
        self._learnt_at = now


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

    def held_s(self, operation: str, now: float) -> float:
        """Return for how many seconds an operation's own limit holds it longer than all are held."""
        own = self._operations[operation].limit.next_send_at(now)
        return max(0.0, own - self._all.next_send_at(now))

    def pause_s(self, operation: str, now: float) -> float:
        """Return the seconds for which an operation alone pauses after a throttled response."""
        return self._operations[operation].limit.pause_s(now)

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
        is_blocked = self._refused_in_a_row >= _BLOCKED and now - self._accepted_at >= _FIRST_PAUSE_S
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
