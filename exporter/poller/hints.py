"""Hints that a job has news: it is polled at once, and then often until its builds have ended. Pure.

The polls come 2, 4, 8 … seconds after the hint, and every two seconds around the time at which the job's last
builds would have ended. So the end of a build shows soon after a hint, whether that was sent when it started,
just before it ended, or when it had ended. Times are monotonic seconds, and milliseconds by the service's
clock, both given by the caller.
"""

from dataclasses import dataclass, replace
from typing import Final

from exporter.ledger.job_ledger import JobLedger

MIN_PAUSE_S: Final = 2.0
"""A hinted job is polled at most once in this time."""

_SETTLING_S: Final = 10.0
"""A build that shows within this time after the hint is one that the hint may be about: replicas lag."""

_SEARCH_S: Final = 30.0
"""How long to look for something that the hint may be about."""

_DENSE_POLLS: Final = 300
"""Maximum number of polls around the expected end of a build."""

_LONGEST_S: Final = 86_400.0
"""Time after which a hint is forgotten, for example about a build that stays in the queue."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A hint about a job, and what polls have shown since.

    Attributes:
        at: when it came.
        at_ms: the same by the service's clock.
        highest: highest build number known then.
        awaited: builds that it may be about, and that have not ended.
        is_explained: there is, or was, a build that it may be about.
    """

    at: float
    at_ms: int
    highest: int
    awaited: frozenset[int]
    is_explained: bool

    @classmethod
    def of(cls, ledger: JobLedger | None, at: float, at_ms: int) -> "Hint":
        """Note a hint about a job with that ledger."""
        awaited = _under_way(ledger)
        return cls(at, at_ms, ledger.highest if ledger else 0, awaited, bool(awaited))

    def after_poll(self, ledger: JobLedger, started: float) -> "Hint | None":
        """Return the hint after a poll that began at ``started``; None if no more polls are needed.

        A poll that was under way when the hint came may still end builds that the hint may be about.
        """
        under_way = _under_way(ledger)
        if started < self.at:
            return replace(self, awaited=self.awaited & under_way)
        awaited = under_way if started - self.at <= _SETTLING_S else under_way & self.awaited
        is_explained = self.is_explained or bool(awaited) or ledger.highest > self.highest
        if not awaited and (is_explained or started - self.at >= _SEARCH_S):
            return None
        return replace(self, awaited=awaited, is_explained=is_explained)

    def pause(self, ledger: JobLedger, started: float, interval: float) -> float | None:
        """Seconds from the start of a poll to that of the next; None if all builds are long overdue.

        A pause longer than `interval` needs no poll of its own.
        """
        age = started - self.at
        now_ms = self.at_ms + age * 1000
        pauses, is_hopeful = [age], age <= interval
        for number in self.awaited:
            start_ms = ledger.open[number].build.start_ms
            if start_ms is None:
                is_hopeful = is_hopeful or age <= _LONGEST_S
            elif expected := _expected_duration_s(ledger):
                begin, end = (seconds - (now_ms - start_ms) / 1000 for seconds in expected)
                pauses.append(begin if begin > 0 else max((end - begin) / _DENSE_POLLS, -end))
                is_hopeful = is_hopeful or (end > -interval and age <= _LONGEST_S)
        return max(MIN_PAUSE_S, min(pauses)) if is_hopeful else None


def _under_way(ledger: JobLedger | None) -> frozenset[int]:
    return frozenset(ledger.open) - ledger.stuck if ledger else frozenset()


def _expected_duration_s(ledger: JobLedger) -> tuple[float, float] | None:
    """Return the shortest and longest duration to expect of a build, judging by the job's last ones."""
    durations_ms = [build.duration_ms for build in ledger.recent if build.duration_ms is not None]
    if not durations_ms:
        return None
    shortest, longest = min(durations_ms), max(durations_ms)
    margin = max((longest - shortest) / 2, longest / 10, MIN_PAUSE_S * 1000)
    return (shortest - margin) / 1000, (longest + margin) / 1000
