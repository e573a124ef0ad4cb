"""Intervals between polls, and the jitter of a delay; pure."""

import random
from dataclasses import dataclass
from typing import Final

from exporter.config import Config

JITTER: Final = 0.1

SPREAD: Final = 0.5
"""Largest share that jitter takes off a delay: small for short delays, large for long ones against bursts."""

_DEFAULT_MAX_S: Final = 600.0

_LONGEST_S: Final = 86_400.0

_VERIFYING_POLLS: Final = 0.8
"""Without `max_interval`, polls per interval that verify the job lists."""

_QUIET_POLLS: Final = 10
"""Polls per interval shared by quiet jobs that no list covers, within `max_interval`."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Polling intervals in seconds.

    Attributes:
        interval: between polls of a building job, and between two reads of the job lists.
        max_interval: longest time between two polls of a job; None lets the planner choose.
        recycle: between two reads of the recycle bin; None disables them.
    """

    interval: float
    max_interval: float | None
    recycle: float | None

    @classmethod
    def of(cls, config: Config) -> "Intervals":
        """Read the intervals from a configuration."""
        recycle = config.recycle_bin.interval if config.recycle_bin.enabled else None
        return cls(config.poll.interval, config.poll.max_interval, recycle)

    @property
    def longest(self) -> float:
        """`max_interval`, or its default for small fleets."""
        return max(self.interval, _DEFAULT_MAX_S) if self.max_interval is None else self.max_interval

    def without_lists(self, jobs: int) -> float:
        """Interval of quiet jobs that no list covers; few jobs are polled often."""
        return min(self.longest, max(self.interval, jobs * self.interval / _QUIET_POLLS))

    def with_lists(self, jobs: int) -> float:
        """Interval of the polls that verify quiet jobs covered by lists."""
        if self.max_interval is not None:
            return self.max_interval
        return min(max(self.longest, jobs * self.interval / _VERIFYING_POLLS), _LONGEST_S)


def jittered(delay: float, share: float, rng: random.Random) -> float:
    """Shorten a delay by a random share of it, at most `share`."""
    return delay * rng.uniform(1 - share, 1)
