"""When to do what; pure. Every task comes due once an interval; the most overdue goes first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """A task and when it is due, in seconds."""

    at: float
    task: str


class Schedule:
    """A heap of tasks, each waiting or under way, never both, never twice: it cannot fill up.

    Args:
        intervals: seconds between two starts of a task.
        now: everything is due from now on.
    """

    def __init__(self, intervals: Mapping[str, float], now: float) -> None:
        self._intervals = dict(intervals)
        self._waiting = [Due(now, task) for task in intervals]
        self._under_way: dict[str, float] = {}

    def take(self, now: float, limit: int) -> list[str]:
        """Up to ``limit`` tasks that are due, the most overdue first; each is under way from now on."""
        taken: list[str] = []
        while self._waiting and self._waiting[0].at <= now and len(taken) < limit:
            due = heappop(self._waiting)
            self._under_way[due.task] = due.at
            taken.append(due.task)
        return taken

    def done(self, task: str, now: float, *, again: bool = False) -> None:
        """A task ended; it is due an interval after it was last, or at once if there is more to do."""
        was_due = self._under_way.pop(task)
        interval = self._intervals[task]
        behind = now - was_due
        at = now if again or behind >= interval else was_due + interval
        heappush(self._waiting, Due(at, task))

    def wait(self, now: float) -> float:
        """Seconds until the next task is due; an hour where none waits."""
        return max(0.0, self._waiting[0].at - now) if self._waiting else 3600.0

    def lag(self, now: float) -> float:
        """How late the most overdue task is, in seconds."""
        return max(0.0, now - min(self._dues(), default=now))

    def _dues(self) -> Iterable[float]:
        if self._waiting:
            yield self._waiting[0].at
        yield from self._under_way.values()
