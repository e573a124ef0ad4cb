"""Timers in the order of their priority and due time; pure."""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from exporter.poller.tasks_and_results import PollReason, Priority, Timer

OVERDUE_TURN: Final = 4
"""One of so many tasks is the most overdue of all, so that none waits for ever."""

Entry = tuple[float, int, Timer]


class Schedule:
    """Queue of timers by priority, then by due time. A timer waits, is under way, or is idle."""

    def __init__(self) -> None:
        self._heaps: dict[Priority, list[Entry]] = {priority: [] for priority in Priority}
        self._taken = 0
        self._waiting = 0
        self._under_way: dict[Timer, None] = {}  # in the order in which they were taken
        self._order = count()

    @property
    def under_way(self) -> int:
        """Number of tasks that were taken and have not ended."""
        return len(self._under_way)

    def put(self, timer: Timer, due: float, reason: PollReason | None = None) -> None:
        """Schedule a task, replacing its due time. A task under way is only marked as wanted again.

        Without a `reason`, that of the timer stays.
        """
        if timer.is_under_way:
            timer.removed = False
            return
        timer.reason = reason or timer.reason
        self._waiting += timer.due is None
        timer.due = due
        heappush(self._heaps[timer.priority], (due, next(self._order), timer))
        if sum(map(len, self._heaps.values())) > 2 * self._waiting + 64:
            for priority, heap in self._heaps.items():
                heap[:] = [entry for entry in heap if _is_current(entry, priority)]
                heapify(heap)

    def hasten(self, timer: Timer, due: float, reason: PollReason) -> None:
        """Move a waiting task forward to `due`, for that reason; never back.

        One that is due before then gets the reason if that raises its priority.
        """
        if timer.due is None:
            return
        earlier = min(due, timer.due)
        if earlier < timer.due or reason.priority < timer.priority:
            self.put(timer, earlier, reason)

    def remove(self, timer: Timer) -> None:
        """Unschedule a task; one that is under way is not scheduled again when it ends."""
        self._waiting -= timer.due is not None
        timer.due = None
        timer.removed = timer.is_under_way

    def take(self, now: float, limit: int) -> list[Timer]:
        """Take up to `limit` due tasks by priority, then the most overdue first; they are then under way.

        Each `OVERDUE_TURN`th one is the most overdue of all.
        """
        taken: list[Timer] = []
        while len(taken) < limit and (heap := self._next(now)):
            timer = heappop(heap)[2]
            self._begin(timer, now)
            taken.append(timer)
        return taken

    def take_of(self, timers: Iterable[Timer], now: float) -> list[Timer]:
        """Take those of the given tasks that are due; they are then under way."""
        due = [timer for timer in timers if timer.due is not None and timer.due <= now]
        for timer in due:
            self._begin(timer, now)
        return due

    def _begin(self, timer: Timer, now: float) -> None:
        timer.due, timer.was_due, timer.started = None, timer.due, now
        self._waiting -= 1
        self._under_way[timer] = None

    def _next(self, now: float) -> list[Entry] | None:
        """Return the heap whose first task is to be taken; None if no task is due."""
        due = [heap for heap in self._heaps_by_priority() if heap[0][0] <= now]
        if not due:
            return None
        self._taken += 1
        return due[0] if self._taken % OVERDUE_TURN else min(due, key=lambda heap: heap[0])

    def done(self, timer: Timer) -> bool:
        """End a task; False if it was removed meanwhile and must not be scheduled again."""
        wanted = timer.is_under_way and not timer.removed
        self._under_way.pop(timer, None)
        timer.was_due, timer.removed = None, False
        return wanted

    def requeue(self) -> None:
        """Make the tasks that are under way due again, at the time they had been due."""
        for timer in tuple(self._under_way):
            due = timer.was_due
            if self.done(timer) and due is not None:
                self.put(timer, due)

    def wait(self, now: float) -> float:
        """Return the seconds until the next task is due; an hour if none waits."""
        first = self._first()
        return 3600.0 if first is None else max(0.0, first - now)

    def lag(self, now: float) -> float:
        """Return how late the most overdue task is, in seconds."""
        due_times = [timer.was_due for timer in self._under_way if timer.was_due is not None]
        if (first := self._first()) is not None:
            due_times.append(first)
        return max(0.0, now - min(due_times, default=now))

    def _first(self) -> float | None:
        return min((heap[0][0] for heap in self._heaps_by_priority()), default=None)

    def _heaps_by_priority(self) -> list[list[Entry]]:
        """Return the heaps in which tasks wait, without outdated entries at their begin."""
        for priority, heap in self._heaps.items():
            while heap and not _is_current(heap[0], priority):
                heappop(heap)
        return [heap for heap in self._heaps.values() if heap]


def _is_current(entry: Entry, priority: Priority) -> bool:
    due, _, timer = entry
    return timer.due == due and timer.priority is priority
