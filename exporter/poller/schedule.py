"""Timers in the order in which they are due, and how long things wait; pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from exporter.config import Config
from exporter.poller.tasks import Timer

JITTER: Final = 0.1
SPREAD: Final = 0.5
"""Shares of a wait that chance may take off: of a short one little, of a long one enough to avoid bursts."""

_DEFAULT_MAX_S: Final = 600.0
_LONGEST_S: Final = 86_400.0
_SELF_POLLS: Final = 0.8
"""Where lists serve and ``max_interval`` is left open, so many jobs an interval are polled by themselves."""
_QUIET_POLLS: Final = 10
"""Quiet jobs that no list serves share so many polls an interval, as long as ``max_interval`` allows."""


class Schedule:
    """Timers by when they are due; the most overdue goes first. None is taken twice, so nothing fills up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._waiting = 0
        self._under_way: set[Timer] = set()
        self._order = count()

    @property
    def under_way(self) -> int:
        """How many tasks were taken and have not ended."""
        return len(self._under_way)

    def put(self, timer: Timer, at: float) -> None:
        """A task is due then, whenever it was due before; one that is under way stays so."""
        if timer.is_under_way:
            timer.removed = False
            return
        self._waiting += timer.due is None
        timer.due = at
        heappush(self._heap, (at, next(self._order), timer))
        if len(self._heap) > 2 * self._waiting + 64:
            self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
            heapify(self._heap)

    def hasten(self, timer: Timer, at: float) -> None:
        """A task that waits is due then, unless it is due earlier."""
        if timer.due is not None and timer.due > at:
            self.put(timer, at)

    def remove(self, timer: Timer) -> None:
        """A task is not wanted any more; if it is under way, it is not scheduled again when it ends."""
        self._waiting -= timer.due is not None
        timer.due = None
        timer.removed = timer.is_under_way

    def take(self, now: float, limit: int) -> list[Timer]:
        """Up to ``limit`` tasks that are due, the most overdue first; each is under way from now on."""
        taken: list[Timer] = []
        while len(taken) < limit and (at := self._first()) is not None and at <= now:
            timer = heappop(self._heap)[2]
            timer.due, timer.was_due, timer.started = None, at, now
            self._waiting -= 1
            self._under_way.add(timer)
            taken.append(timer)
        return taken

    def done(self, timer: Timer) -> bool:
        """A task ended; False if it was removed meanwhile and must not be put again."""
        wanted = timer.is_under_way and not timer.removed
        self._under_way.discard(timer)
        timer.was_due, timer.removed = None, False
        return wanted

    def call_back(self) -> None:
        """What is under way comes to nothing; it is due as it was."""
        under_way, self._under_way = self._under_way, set()
        for timer in under_way:
            at, removed = timer.was_due, timer.removed
            timer.was_due, timer.removed = None, False
            if at is not None and not removed:
                self.put(timer, at)

    def wait(self, now: float) -> float:
        """Seconds until the next task is due; an hour where none waits."""
        first = self._first()
        return 3600.0 if first is None else max(0.0, first - now)

    def lag(self, now: float) -> float:
        """How late the most overdue task is, in seconds."""
        return max(0.0, now - min(self._dues(), default=now))

    def _first(self) -> float | None:
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _dues(self) -> Iterator[float]:
        first = self._first()
        if first is not None:
            yield first
        yield from (timer.was_due for timer in self._under_way if timer.was_due is not None)


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often things are asked; seconds.

    Attributes:
        interval: between two polls of a busy job, and between two readings of the lists.
        max_interval: the longest a job goes without a poll of its own; None leaves it to the planner.
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


def sooner(delay: float, share: float, rng: random.Random) -> float:
    """A delay of which chance takes off up to a share."""
    return delay * rng.uniform(1 - share, 1)
