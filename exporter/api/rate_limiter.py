"""How fast the API may be asked: a ceiling, and below it a limit learnt from "too many requests"; pure.

No more than the limit goes out in any sixty seconds, evenly spaced but for a small burst. A throttled answer
tells what the service bears: as many as it accepted in the last minute. From a little below that, the limit
grows along a cubic (TCP CUBIC, RFC 9438): quickly back to where it was, slowly past it, and faster again
the longer nothing objects, so that a limit that was lifted is found.
"""

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0

LEAST: Final = 1.0
"""Requests a minute that are always tried."""

_BURST: Final = 0.1

_BACK_OFF: Final = 0.92

_BACK_OFF_AGAIN: Final = 0.75
"""Where the last lesson was not enough."""

_AGAIN_S: Final = 150.0

_PLATEAU_S: Final = 600.0

_ANNOUNCED: Final = 0.96
"""Share taken of a limit that the service names."""

_ANNOUNCED_S: Final = 3600.0
"""It is kept for so long; then it grows as a learnt one does past its plateau."""

_FIRST_PAUSE_S: Final = 1.0

_LONGEST_PAUSE_S: Final = 60.0

_LONGEST_RETRY_AFTER_S: Final = 300.0


class Pace:
    """When the next request may go out. Times are monotonic seconds, given by the caller.

    Args:
        ceiling: requests a minute never to be exceeded.
        now: the present.
    """

    def __init__(self, ceiling: float, now: float) -> None:
        self.ceiling = ceiling
        self._sent: deque[float] = deque()
        self._accepted: deque[float] = deque()
        self._next = now
        self._resume = now
        self._peak: float | None = None
        self._depth = 0.0
        self._learnt_at = now
        self._in_a_row = 0
        self._held_back_at = now - WINDOW_S
        self._announced: tuple[float, float] | None = None

    def limit(self, now: float) -> float:
        """Requests a minute that are allowed at present."""
        limit = self.ceiling
        if self._peak is not None:
            elapsed = (now - self._learnt_at) / _PLATEAU_S
            limit = min(limit, self._peak + self._depth * (elapsed - 1) ** 3)
        if self._announced:
            named, until = self._announced
            elapsed = max(0.0, now - until) / _PLATEAU_S
            limit = min(limit, named + named * (1 - _BACK_OFF) * elapsed**3)
        return max(LEAST, limit)

    def go_at(self, now: float) -> float:
        """When the next request may go out; at once where that is not after ``now``."""
        limit = self.limit(now)
        while self._sent and self._sent[0] <= now - WINDOW_S:
            self._sent.popleft()
        allowed = max(1, min(int(self.ceiling), round(limit)))
        window = self._sent[-allowed] + WINDOW_S if len(self._sent) >= allowed else now
        spacing = WINDOW_S / limit
        burst = max(0.0, limit * _BURST - 1) * spacing
        allowed_at = max(now, window, self._next - burst)
        if allowed_at > now:
            self._held_back_at = now
        return max(allowed_at, self._resume)

    def sent(self, now: float) -> None:
        """A request goes out."""
        self._sent.append(now)
        self._next = max(self._next, now) + WINDOW_S / self.limit(now)

    def accepted(self, now: float) -> None:
        """The service answered something else than "too many requests"."""
        self._in_a_row = 0
        self._accepted.append(now)
        while self._accepted[0] <= now - WINDOW_S:
            self._accepted.popleft()

    def throttled(self, now: float, retry_after: float | None, announced: float | None) -> None:
        """The service said "too many requests".

        Args:
            now: the present.
            retry_after: seconds it asks to wait, if it says.
            announced: the limit it names, requests a minute.
        """
        self._in_a_row += 1
        pause = min(_FIRST_PAUSE_S * 2 ** min(self._in_a_row - 1, 16), _LONGEST_PAUSE_S)
        if retry_after is not None:
            pause = min(retry_after, _LONGEST_RETRY_AFTER_S)
        self._resume = max(self._resume, now + pause)
        if announced is not None:
            self._announced = (max(LEAST, announced * _ANNOUNCED), now + _ANNOUNCED_S)
        if self._in_a_row == 1:
            self._learn(now)

    def _learn(self, now: float) -> None:
        limit = self.limit(now)
        borne = sum(1 for at in self._accepted if at > now - WINDOW_S)
        peak = max(LEAST, min(limit, borne))
        if now - self._held_back_at >= WINDOW_S:  # we asked for little: that tells little of what is borne
            peak = max(peak, limit if self._announced else limit * _BACK_OFF_AGAIN)
        again = self._peak is not None and now - self._learnt_at < _AGAIN_S
        self._peak = peak
        self._depth = peak * (1 - (_BACK_OFF_AGAIN if again else _BACK_OFF))
        self._learnt_at = now
