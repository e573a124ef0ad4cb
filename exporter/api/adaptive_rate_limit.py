"""An adaptive rate limit: a ceiling, and below it a limit learnt from "too many requests" responses; pure.

No more than the limit is sent in any sixty seconds, evenly spaced but for a small burst. A throttled response
sets the limit a little below the number of requests accepted in the last minute. From there it grows along a
cubic (TCP CUBIC, RFC 9438): quickly back to where it was, slowly past it, and faster again the longer nothing
is throttled, so that a raised limit is found.
"""

from collections import deque
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
"""A limit is not reached if less than this share of it was accepted."""

_OUTGROWN: Final = 1.1
"""A shared limit is wrong if this multiple of it was accepted in a minute."""

FIRST_PAUSE_S: Final = 1.0
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
        pause = min(FIRST_PAUSE_S * 2 ** min(self._throttled_in_a_row - 1, 16), _MAX_PAUSE_S)
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
