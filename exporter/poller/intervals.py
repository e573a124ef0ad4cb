"""How long things wait; pure."""

import random
from dataclasses import dataclass
from typing import Final

from exporter.config import Config

_DEFAULT_MAX_S: Final = 600.0
_SELF_POLLS: Final = 0.8
"""Where lists serve and ``max_interval`` is left open, so many jobs an interval are polled by themselves."""
_QUIET_POLLS: Final = 10
"""Quiet jobs that no list serves share so many polls an interval, as long as ``max_interval`` allows."""
_LONGEST_S: Final = 86_400.0

JITTER: Final = 0.1
SPREAD: Final = 0.5
"""Shares of a wait that chance may take off: of a short one little, of a long one enough to avoid bursts."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often things are asked; seconds.

    Attributes:
        interval: between two polls of a busy job, and between two sweeps of the lists.
        max_interval: the longest a job goes without a poll of its own; None leaves it to the agenda.
        recycle: between two readings of the recycle bin; None leaves it alone.
    """

    interval: float
    max_interval: float | None
    recycle: float | None

    @classmethod
    def of(cls, config: Config) -> "Intervals":
        """Those of a configuration."""
        recycle = config.recycle_bin.interval if config.recycle_bin.enabled else None
        return cls(config.poll.interval, config.poll.max_interval, recycle)

    @property
    def longest(self) -> float:
        """How rarely anything is polled that does not change, where there is much of it."""
        return max(self.interval, _DEFAULT_MAX_S) if self.max_interval is None else self.max_interval

    def unserved(self, jobs: int) -> float:
        """How rarely a quiet job is polled where lists do not serve: few jobs are always fresh."""
        return min(self.longest, max(self.interval, jobs * self.interval / _QUIET_POLLS))

    def by_itself(self, jobs: int) -> float:
        """How rarely a quiet job is polled where lists serve."""
        if self.max_interval is not None:
            return self.max_interval
        return min(max(self.longest, jobs * self.interval / _SELF_POLLS), _LONGEST_S)


def sooner(delay: float, share: float) -> float:
    """A delay of which chance takes off up to a share."""
    return delay * random.uniform(1 - share, 1)
