"""The schedule of the steps that fetch the stages of builds; pure.

A poll counts a build, and is committed and published. Builds that then wait for their stages are requested
when nothing else is due, by some of the workers only, while the rate limits let them pass at once. A step
does not hold up the polls of its job.
"""

import random
from collections.abc import Callable, Iterable
from typing import Final

from exporter.errors import ThrottledError
from exporter.poller.configured_intervals import JITTER, jittered
from exporter.poller.job_state import JobState
from exporter.poller.tasks_and_results import StagesFetched, Timer
from exporter.poller.timer_queue import Schedule

LONGEST_PAUSE_S: Final = 600.0
"""Longest wait after failed steps."""

BROKEN_AFTER: Final = 3
"""Steps in a row without an answer, after which only one at a time is tried."""

_SHARE: Final = 4


class StageSchedule:
    """The jobs that wait for a step.

    Args:
        interval: seconds from a failed step to the next of its job, doubled with each failure.
        concurrency: maximum number of tasks under way; a quarter of them may be steps, at least one.
        rng: source of jitter.
        held_s: returns the seconds until the rate limits let a request pass.
    """

    def __init__(
        self, interval: float, concurrency: int, rng: random.Random, held_s: Callable[[], float]
    ) -> None:
        self._interval = interval
        self._at_once = max(1, concurrency // _SHARE)
        self._rng = rng
        self._held_s = held_s
        self.schedule = Schedule()
        self._answered_polls = 0
        self._failed_in_a_row = 0
        self._resume = float("-inf")

    def want(self, job: JobState, now: float) -> None:
        """Schedule a step of a job, after a pause if its last step failed."""
        if not job.stages.timer.is_planned:
            self.schedule.put(job.stages.timer, now + self._pause(job.stages.failures))

    def take(self, now: float, limit: int) -> list[Timer]:
        """Take up to `limit` due steps, those that wait longest first."""
        limit = min(limit, self._room())
        return self.schedule.take(now, limit) if limit and self._pause_left(now) <= 0 else []

    def wait(self, now: float) -> float:
        """Return the seconds until a step can be taken; an hour if another has to end first."""
        return max(self.schedule.wait(now), self._pause_left(now)) if self._room() else 3600.0

    def poll_answered(self) -> None:
        """Record that a poll was answered or refused, so the API as a whole works."""
        self._answered_polls += 1

    def failures_count(self, job: JobState) -> bool:
        """Return whether failures of the next step count: the last failed, and a poll was answered since."""
        failed_at = job.stages.failed_at
        return failed_at is not None and failed_at < self._answered_polls

    def ended(self, job: JobState, now: float, fetched: StagesFetched | None) -> None:
        """End a step of a watched job, with answers or None; call `want` afterwards if builds still wait."""
        retry = job.stages
        wanted = self.schedule.done(retry.timer)
        if fetched and not fetched.answers and not fetched.failure:
            return  # nothing was requested
        has_answers = fetched is not None and fetched.has_answers
        if has_answers:
            retry.failures = 0
        if wanted:
            succeeded = fetched is not None and fetched.failure is None
            retry.failures = 0 if succeeded else retry.failures + 1
            if fetched and not isinstance(fetched.failure, ThrottledError):
                retry.failed_at = None if succeeded else self._answered_polls
        self._failed_in_a_row = 0 if has_answers else self._failed_in_a_row + 1
        self._resume = now + self._pause(self._failed_in_a_row + 1 - BROKEN_AFTER)

    def drop(self, jobs: Iterable[JobState]) -> None:
        """Unschedule jobs that are not watched any more."""
        for job in jobs:
            self.schedule.remove(job.stages.timer)

    def _room(self) -> int:
        at_once = self._at_once if self._failed_in_a_row < BROKEN_AFTER else 1
        return max(0, at_once - self.schedule.under_way)

    def _pause_left(self, now: float) -> float:
        """Return the seconds until steps may go on; they are held only if one is due."""
        is_due = self.schedule.wait(now) <= 0
        return max(self._resume - now, self._held_s() if is_due else 0.0)

    def _pause(self, failures: int) -> float:
        if failures <= 0:
            return 0.0
        longest = max(self._interval, LONGEST_PAUSE_S)
        return jittered(min(longest, self._interval * (1 << min(failures - 1, 20))), JITTER, self._rng)
