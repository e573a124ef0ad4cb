"""Adaptive rate limit: a ceiling, and below it a limit learnt from "too many requests" responses; pure.

No more than the limit is sent in any sixty seconds, evenly spaced but for a small burst. A throttled response
sets the limit a little below the number of requests accepted in the last minute. From there it grows along a
cubic (TCP CUBIC, RFC 9438): quickly back to where it was, slowly past it, and faster again the longer
nothing is throttled, so that a raised limit is found.
"""

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0

MIN_LIMIT: Final = 1.0
"""Requests per minute that are always allowed."""

_BURST: Final = 0.1
_BACK_OFF: Final = 0.92
_BACK_OFF_AGAIN: Final = 0.75
"""Used if the previous reduction was not enough."""

_AGAIN_S: Final = 150.0
_PLATEAU_S: Final = 600.0

_ANNOUNCED_SHARE: Final = 0.96
"""Share used of a limit that the service announces."""

_ANNOUNCED_S: Final = 3600.0
"""An announced limit holds this long; then it grows as a learnt one does past its plateau."""

_FIRST_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 60.0
_MAX_RETRY_AFTER_S: Final = 300.0


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

    def next_send_at(self, now: float) -> float:
        """Return when the next request may be sent; at once if that is not after ``now``."""
        limit = self.limit(now)
        while self._sent and self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        allowed = max(1, min(int(self.ceiling), round(limit)))
        window = self._sent[-allowed] + WINDOW_S if len(self._sent) >= allowed else now
        spacing = WINDOW_S / limit
        burst = max(0.0, limit * _BURST - 1) * spacing
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
        while self._accepted[0] <= now - WINDOW_S:
            self._accepted.popleft()

    def throttled(self, now: float, retry_after: float | None, announced: float | None) -> None:
        """Record a "too many requests" response, with the wait and the limit per minute that it names."""
        self._throttled_in_a_row += 1
        pause = min(_FIRST_PAUSE_S * 2 ** min(self._throttled_in_a_row - 1, 16), _MAX_PAUSE_S)
        if retry_after is not None:
            pause = min(retry_after, _MAX_RETRY_AFTER_S)
        self._resume = max(self._resume, now + pause)
        if announced is not None:
            self._announced = (max(MIN_LIMIT, announced * _ANNOUNCED_SHARE), now + _ANNOUNCED_S)
        if self._throttled_in_a_row == 1:
            self._learn(now)

    def _learn(self, now: float) -> None:
        limit = self.limit(now)
        accepted = sum(1 for accepted_at in self._accepted if accepted_at > now - WINDOW_S)
        peak = max(MIN_LIMIT, min(limit, accepted))
        if now - self._delayed_at >= WINDOW_S:  # few requests were sent: their number says little
            peak = max(peak, limit if self._announced else limit * _BACK_OFF_AGAIN)
        again = self._peak is not None and now - self._learnt_at < _AGAIN_S
        self._peak = peak
        self._depth = peak * (1 - (_BACK_OFF_AGAIN if again else _BACK_OFF))
        self._learnt_at = now
