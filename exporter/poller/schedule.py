"""When to do what; pure. Each task waits or is under way, never both, never twice: nothing can fill up."""

from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush
from itertools import count


class Schedule:
    """Tasks by when they are due, in monotonic seconds; the most overdue goes first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._under_way: dict[str, float] = {}
        self._unwanted: set[str] = set()
        self._order = count()

    def __contains__(self, task: str) -> bool:
        return task in self._due or (task in self._under_way and task not in self._unwanted)

    @property
    def under_way(self) -> int:
        """How many tasks were taken and are not done."""
        return len(self._under_way)

    def is_under_way(self, task: str) -> bool:
        """It was taken and is not done."""
        return task in self._under_way

    def put(self, task: str, at: float) -> None:
        """A task is due then, and no longer when it was before; one that is under way stays so."""
        if task in self._under_way:
            self._unwanted.discard(task)
            return
        self._due[task] = at
        heappush(self._heap, (at, next(self._order), task))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def hasten(self, task: str, at: float) -> None:
        """A task is due then, unless it is due earlier."""
        if task in self._due and self._due[task] > at:
            self.put(task, at)

    def remove(self, task: str) -> None:
        """A task is not wanted any more; if it is under way, it is not scheduled again when it is done."""
        self._due.pop(task, None)
        if task in self._under_way:
            self._unwanted.add(task)

    def take(self, now: float, limit: int) -> list[str]:
        """Up to ``limit`` tasks that are due, the most overdue first; each is under way from now on."""
        taken: list[str] = []
        while len(taken) < limit and (at := self._first()) is not None and at <= now:
            _, _, task = heappop(self._heap)
            self._under_way[task] = self._due.pop(task)
            taken.append(task)
        return taken

    def done(self, task: str) -> bool:
        """A task ended; False if it was removed meanwhile and must not be put again."""
        wanted = task in self._under_way and task not in self._unwanted
        self._under_way.pop(task, None)
        self._unwanted.discard(task)
        return wanted

    def call_back(self) -> None:
        """What is under way comes to nothing; it is due as it was."""
        taken, self._under_way = self._under_way, {}
        for task, at in taken.items():
            if task not in self._unwanted:
                self.put(task, at)
        self._unwanted.clear()

    def go_on_from(self, before: "Schedule", tasks: Collection[str]) -> frozenset[str]:
        """Those of the tasks that ``before`` knows are due as they were there; which these are."""
        known = {**before._due, **before._under_way}
        kept = frozenset(known.keys() & set(tasks))
        for task in kept:
            self.put(task, known[task])
        return kept

    def wait(self, now: float) -> float:
        """Seconds until the next task is due; an hour where none waits."""
        first = self._first()
        return 3600.0 if first is None else max(0.0, first - now)

    def lag(self, now: float) -> float:
        """How late the most overdue task is, in seconds."""
        return max(0.0, now - min(self._dues(), default=now))

    def _first(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _dues(self) -> Iterator[float]:
        first = self._first()
        if first is not None:
            yield first
        yield from self._under_way.values()
