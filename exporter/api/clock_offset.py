"""The service's clock, followed by the median of its last answers, and its offset from ours; pure.

Answers are compared with a clock that cannot be set. So a step of our wall clock shows in the offset at once,
and changes no time by the service's clock.
"""

from collections.abc import Callable, Sequence
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

    A machine behind a load balancer may have a wrong clock, so no single response decides. Until one comes,
    the service's time is ours.

    Args:
        wall: our clock, seconds since the epoch.
        monotonic: seconds that no setting of a clock changes.
    """

    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self.monotonic = monotonic
        self._samples: tuple[float, ...] = ()

    def add(self, service_s: float, received_at: float) -> None:
        """Add the time of one response, in seconds since the epoch, and when it came by `monotonic`."""
        self._samples = (*self._samples[1 - SAMPLES :], service_s - received_at)

    @property
    def _offsets(self) -> list[float]:
        """The service's clock minus ours, as it is set now, by each response."""
        ours = self._wall() - self.monotonic()
        return sorted(sample - ours for sample in self._samples)

    @property
    def seconds(self) -> float | None:
        """The service's clock minus ours; None before the first response.

        Of two values in the middle it is the one nearer to our clock.
        """
        return _middle(self._offsets)

    @property
    def trusted(self) -> float | None:
        """The same if it is less than a day, or if `QUORUM` responses agree on it; else None."""
        offsets = self._offsets
        seconds = _middle(offsets)
        if seconds is None or abs(seconds) < _LARGE_OFFSET_S:
            return seconds
        agreeing = sum(abs(offset_s - seconds) <= _TOLERANCE_S for offset_s in offsets)
        return seconds if agreeing >= QUORUM else None

    @property
    def is_undecided(self) -> bool:
        """True if the offset is a day or more, and too few responses have come to trust it or not."""
        seconds = self.seconds
        return seconds is not None and abs(seconds) >= _LARGE_OFFSET_S and len(self._samples) < QUORUM

    def service_ms(self, at: float | None = None) -> int:
        """Return the present, or the time ``at`` by `monotonic`, by the service's clock, in milliseconds.

        It is our clock's as far as the offset is not trusted.
        """
        now = self.monotonic()
        ago_s = 0.0 if at is None else now - at
        offset_s = self.trusted or 0.0
        return round((self._wall() - ago_s + (offset_s if abs(offset_s) > _JITTER_S else 0.0)) * 1000)


def _middle(offsets: Sequence[float]) -> float | None:
    """Return the median of sorted values; of two in the middle the one nearer to 0."""
    if not offsets:
        return None
    return min(offsets[(len(offsets) - 1) // 2], offsets[len(offsets) // 2], key=abs)


def with_settled_clock(observe: Callable[[], Value], clock: ClockOffset) -> Value:
    """Return ``observe()``, repeated if its responses reveal through ``clock`` that our clock is days off."""
    for _ in range(QUORUM):
        started_ms = clock.service_ms()
        value = observe()
        if not clock.is_undecided and abs(clock.service_ms() - started_ms) < DAY_MS // 2:
            return value
    return observe()
