"""Timers in the order in which they are due; pure."""

from heapq import heapify, heappop, heappush
from itertools import count

from exporter.poller.tasks_and_results import PollReason, Timer


class Schedule:
    """Priority queue of timers by due time. A timer waits, is under way, or is idle."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
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
        heappush(self._heap, (due, next(self._order), timer))
        if len(self._heap) > 2 * self._waiting + 64:
            self._heap = [entry for entry in self._heap if entry[2].due == entry[0]]
            heapify(self._heap)

    def hasten(self, timer: Timer, due: float, reason: PollReason) -> None:
        """Move a waiting task forward to `due`, for that reason; never back."""
        if timer.due is not None and timer.due > due:
            self.put(timer, due, reason)

    def remove(self, timer: Timer) -> None:
        """Unschedule a task; one that is under way is not scheduled again when it ends."""
        self._waiting -= timer.due is not None
        timer.due = None
        timer.removed = timer.is_under_way

    def take(self, now: float, limit: int) -> list[Timer]:
        """Take up to `limit` due tasks, the most overdue first; they are then under way."""
        taken: list[Timer] = []
        while len(taken) < limit and (due := self._first()) is not None and due <= now:
            timer = heappop(self._heap)[2]
            timer.due, timer.was_due, timer.started = None, due, now
            self._waiting -= 1
            self._under_way[timer] = None
            taken.append(timer)
        return taken

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
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
