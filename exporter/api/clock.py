"""The service's clock against ours, and the time by it."""

from collections.abc import Callable
from typing import Final, TypeVar

from exporter.model import DAY_MS

KEPT: Final = 5
"""So many answers are compared; two of them may tell a wrong time."""

AGREED: Final = KEPT // 2 + 1
"""So many answers that tell the same are believed however far off they are."""

_FAR_S: Final = 86_400.0

_SAME_S: Final = 60.0


class ClockOffset:
    """The middle one of what the last answers told; safe to share between threads.

    A machine behind a balancer may have a clock of its own, so no single answer is believed where there are
    others.
    """

    def __init__(self) -> None:
        self._told: tuple[float, ...] = ()

    def tell(self, offset_s: float) -> None:
        """An answer told this offset: the service's clock minus ours, in seconds."""
        self._told = (*self._told[1 - KEPT :], offset_s)

    @property
    def seconds(self) -> float | None:
        """The service's clock minus ours; None where no answer told it.

        Of two in the middle it is the one nearer to our clock.
        """
        told = sorted(self._told)
        if not told:
            return None
        return min(told[(len(told) - 1) // 2], told[len(told) // 2], key=abs)

    @property
    def believed(self) -> float | None:
        """The same where it may be used: `AGREED` answers tell it, or it is less than a day."""
        told, seconds = self._told, self.seconds
        if seconds is None or abs(seconds) < _FAR_S:
            return seconds
        agreed = sum(abs(one - seconds) <= _SAME_S for one in told)
        return seconds if agreed >= AGREED else None

    @property
    def is_undecided(self) -> bool:
        """Whether it is a day or more, and too few answers have come to believe it or not."""
        seconds = self.seconds
        return seconds is not None and abs(seconds) >= _FAR_S and len(self._told) < AGREED


Value = TypeVar("Value")

_LEAP_MS: Final = DAY_MS // 2

_JITTER_S: Final = 5.0
"""``Date`` knows whole seconds, and an answer takes its time."""


def service_ms(wall_s: float, offset_s: float | None) -> int:
    """Now in milliseconds since the epoch, by the service's clock where it is to be believed, else by ours.

    Args:
        wall_s: our clock, seconds since the epoch.
        offset_s: the service's clock minus ours, as far as it is believed; None where it is not known.
    """
    told_s = offset_s or 0.0
    return round((wall_s + (told_s if abs(told_s) > _JITTER_S else 0.0)) * 1000)


def at_settled_time(ask: Callable[[int], Value], now_ms: Callable[[], int], clock: ClockOffset) -> Value:
    """What comes of asking at a certain time; asked again where the answers told that it is days off.

    Args:
        ask: asks the service; takes the present.
        now_ms: the present, by the service's clock as far as it is believed.
        clock: learns from the answers.
    """
    for _ in range(AGREED):
        at_ms = now_ms()
        value = ask(at_ms)
        if not clock.is_undecided and abs(now_ms() - at_ms) < _LEAP_MS:
            return value
    return ask(now_ms())
