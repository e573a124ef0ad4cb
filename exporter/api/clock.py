"""The service's clock against ours, as its answers tell it; pure."""

from typing import Final

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
