"""Whose turn it is to have stages fetched; pure.

A poll counts, and is committed and published. Builds that then wait for their stages are asked about when
nothing else is due, by some of the workers only. A step takes nothing from its job: that is polled meanwhile
as if there were no step.
"""

import random
from collections.abc import Iterable
from typing import Final

from exporter.errors import ThrottledError
from exporter.poller.job_state import JobState
from exporter.poller.schedule import JITTER, Schedule, jittered
from exporter.poller.tasks import StagesFetched, Timer

LONGEST_PAUSE_S: Final = 600.0
"""The longest wait because fetching stages fails."""

BROKEN_AFTER: Final = 3
"""After so many steps in a row that brought nothing, one at a time tries whether they come again."""

_SHARE: Final = 4


class StageSteps:
    """Which jobs wait for a step, and since when; each waits or is under way, once.

    Args:
        interval: seconds from a step that brought nothing to the next of its job; then ever more.
        concurrency: tasks of all kinds under way at once; a quarter of them may be steps, and always one.
        rng: the source of chance.
    """

    def __init__(self, interval: float, concurrency: int, rng: random.Random | None = None) -> None:
        self._interval = interval
        self._at_once = max(1, concurrency // _SHARE)
        self._rng = rng or random.Random()
        self._schedule = Schedule()
        self._answered_polls = 0
        self._in_a_row = 0
        self._resume = float("-inf")

    def want(self, job: JobState, now: float) -> None:
        """Builds of that job wait for their stages; where the last step failed, they wait a while."""
        if not job.stages.timer.is_planned:
            self._schedule.put(job.stages.timer, now + self._pause(job.stages.failures))

    def take(self, now: float, limit: int) -> list[Timer]:
        """Up to ``limit`` tasks whose turn it is, those that wait longest first."""
        return self._schedule.take(now, min(limit, self._room())) if now >= self._resume else []

    def wait(self, now: float) -> float:
        """Seconds until a task can be taken; an hour where none can until another has ended."""
        return max(self._schedule.wait(now), self._resume - now) if self._room() else 3600.0

    def poll_answered(self) -> None:
        """A poll was answered, if only by a refusal: what failed for stages was not all of the API."""
        self._answered_polls += 1

    def failures_count(self, job: JobState) -> bool:
        """Whether failures of the job's next step count: its last failed, and a poll was answered since."""
        failed_at = job.stages.failed_at
        return failed_at is not None and failed_at < self._answered_polls

    def ended(self, job: JobState, now: float, fetched: StagesFetched | None) -> None:
        """A step of a watched job ended; for builds that still wait, call `want` afterwards.

        Args:
            job: of which job.
            now: the present.
            fetched: what the step brought; None where it failed altogether.
        """
        retry = job.stages
        wanted = self._schedule.done(retry.timer)
        if fetched and fetched.is_empty:
            return
        helps = fetched is not None and fetched.helps
        if helps:
            retry.failures = 0
        if wanted:
            is_well = fetched is not None and fetched.is_well
            retry.failures = 0 if is_well else retry.failures + 1
            if fetched and not isinstance(fetched.failure, ThrottledError):
                retry.failed_at = None if is_well else self._answered_polls
        self._in_a_row = 0 if helps else self._in_a_row + 1
        self._resume = now + self._pause(self._in_a_row + 1 - BROKEN_AFTER)

    def discard(self, timer: Timer) -> None:
        """A step ended of a job that is not watched any more."""
        self._schedule.done(timer)

    def requeue(self) -> None:
        """The steps under way come to nothing; their turn comes again."""
        self._schedule.requeue()

    def drop(self, jobs: Iterable[JobState]) -> None:
        """Those jobs are not watched any more."""
        for job in jobs:
            self._schedule.remove(job.stages.timer)

    def _room(self) -> int:
        most = self._at_once if self._in_a_row < BROKEN_AFTER else 1
        return max(0, most - self._schedule.under_way)

    def _pause(self, failures: int) -> float:
        if failures <= 0:
            return 0.0
        longest = max(self._interval, LONGEST_PAUSE_S)
        return jittered(min(longest, self._interval * (1 << min(failures - 1, 20))), JITTER, self._rng)
