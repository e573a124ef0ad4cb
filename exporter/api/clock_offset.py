"""Median offset of the service's clock from ours, and the time by it; pure."""

from collections.abc import Callable
from typing import Final, TypeVar

from exporter.model import DAY_MS

SAMPLES: Final = 5
"""Number of recent responses that are compared; two of them may have a wrong time."""

QUORUM: Final = SAMPLES // 2 + 1
"""Number of responses that have to agree on an offset of a day or more."""

_LARGE_OFFSET_S: Final = 86_400.0
_TOLERANCE_S: Final = 60.0
_JITTER_S: Final = 5.0
"""Smaller offsets are ignored: ``Date`` has whole seconds, and a response takes its time."""

Value = TypeVar("Value")


class ClockOffset:
    """Median offset of the service's clock over the last responses; safe to share between threads.

    A machine behind a load balancer may have a wrong clock, so no single response decides.
    """

    def __init__(self) -> None:
        self._samples: tuple[float, ...] = ()

    def add(self, offset_s: float) -> None:
        """Add the offset of one response: the service's clock minus ours, in seconds."""
        self._samples = (*self._samples[1 - SAMPLES :], offset_s)

    @property
    def seconds(self) -> float | None:
        """The service's clock minus ours; None before the first response.

        Of two values in the middle it is the one nearer to our clock.
        """
        samples = sorted(self._samples)
        if not samples:
            return None
        return min(samples[(len(samples) - 1) // 2], samples[len(samples) // 2], key=abs)

    @property
    def trusted(self) -> float | None:
        """The same if it is less than a day, or if `QUORUM` responses agree on it; else None."""
        samples, seconds = self._samples, self.seconds
        if seconds is None or abs(seconds) < _LARGE_OFFSET_S:
            return seconds
        agreeing = sum(abs(offset_s - seconds) <= _TOLERANCE_S for offset_s in samples)
        return seconds if agreeing >= QUORUM else None

    @property
    def is_undecided(self) -> bool:
        """True if the offset is a day or more, and too few responses have come to trust it or not."""
        seconds = self.seconds
        return seconds is not None and abs(seconds) >= _LARGE_OFFSET_S and len(self._samples) < QUORUM

    def service_ms(self, wall_s: float) -> int:
        """Return a time of our clock by the service's, in milliseconds, as far as the offset is trusted."""
        offset_s = self.trusted or 0.0
        return round((wall_s + (offset_s if abs(offset_s) > _JITTER_S else 0.0)) * 1000)


def with_settled_clock(observe: Callable[[], Value], now_ms: Callable[[], int], clock: ClockOffset) -> Value:
    """Return ``observe()``, repeated if its responses reveal through ``clock`` that our clock is days off."""
    for _ in range(QUORUM):
        started_ms = now_ms()
        value = observe()
        if not clock.is_undecided and abs(now_ms() - started_ms) < DAY_MS // 2:
            return value
    return observe()
