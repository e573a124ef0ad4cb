"""Delays until the next poll of a job, from what is known after the last one. Pure; all in seconds."""

import math
import random
from dataclasses import dataclass
from typing import Final

from exporter.ledger.job_list_evidence import is_guessed, shows_running
from exporter.model import ListedJob
from exporter.poller.configured_intervals import JITTER, SPREAD, Intervals, jittered
from exporter.poller.job_state import JobState
from exporter.poller.tasks_and_results import PollReason

PATIENCE: Final = 8
"""Answered polls of a job, with growing intervals, while a list shows what history does not show yet."""

GUESSED_FOR: Final = 1.25
"""Intervals until record-info confirms a running build that a list shows without its number."""

Delay = tuple[float, PollReason]
"""Seconds until a poll, and why then; the smallest of several comes first."""


@dataclass(frozen=True, slots=True)
class PollDelays:
    """Rules for the delay between two polls of a job.

    Attributes:
        jobs: number of watched jobs.
        lists_in_use: whether job lists decide which jobs to poll.
        rng: source of jitter.
    """

    intervals: Intervals
    jobs: int
    lists_in_use: bool
    rng: random.Random

    @property
    def quiet_interval(self) -> float:
        """Interval of quiet jobs, before jitter."""
        if self.lists_in_use:
            return self.intervals.with_lists(self.jobs)
        return self.intervals.without_lists(self.jobs)

    def until_next(self, job: JobState, mark: object) -> Delay:
        """Return the delay after a successful poll, given how the job was listed when it began."""
        ledger = job.latest
        listed = job.lists.listed if self.lists_in_use else None
        disagrees = listed is not None and ledger is not None and not ledger.agrees_with(listed)
        if listed and listed.mark != mark and disagrees:
            return 0.0, PollReason.CHANGED
        if ledger and ledger.open.keys() - ledger.stuck:
            if listed and shows_running(ledger, listed):
                is_guess = is_guessed(ledger, listed)
                return self.until_running_is_checked(is_guess=is_guess), PollReason.LISTED_AS_RUNNING
            return jittered(self.intervals.interval, JITTER, self.rng), PollReason.BUILDING
        quiet = self._until_next_of_quiet(job, listed, disagrees=disagrees)
        if ledger is None or ledger.stuck_rest_until_ms is None:
            return quiet
        rest = (ledger.stuck_rest_until_ms - ledger.polled_ms) / 1000
        return min(quiet, (max(rest, self.intervals.longest), PollReason.STUCK))

    def until_next_of_hint(self, job: JobState, now: float) -> float:
        """Return the delay that a hint demands after a successful poll; infinite if it demands none.

        Where polls wait for the throttle, the pauses grow with that wait: other tasks take precedence.
        """
        due, ledger = job.poll.was_due, job.latest
        if due is not None and job.hint:
            due = max(due, job.hint.at)  # how long it had been due before the hint says nothing of that wait
        pause: float | None = None
        if job.hint and ledger:
            job.hint = job.hint.after_poll(ledger, job.polled_at)
        if job.hint and ledger:
            pause = job.hint.pause(ledger, job.polled_at, self.intervals.interval)
        if pause is None:
            job.hint = None
            return math.inf
        return max(pause, 2 * (now - due)) if due is not None else pause

    def until_running_is_checked(self, *, is_guess: bool) -> float:
        """Return how long a list is relied on to show the end of a build; less if its number is a guess."""
        if is_guess:
            return GUESSED_FOR * self.intervals.interval
        return jittered(min(self.quiet_interval, self.intervals.longest), JITTER, self.rng)

    def backed_off(self, job: JobState, longest: float) -> float:
        """Return a delay that doubles with each poll that found nothing, up to ``longest``."""
        delay = min(longest, self.intervals.interval * (1 << max(0, min(job.quiet_polls, 20))))
        return jittered(delay, JITTER, self.rng)

    def _until_next_of_quiet(self, job: JobState, listed: ListedJob | None, *, disagrees: bool) -> Delay:
        ledger = job.latest
        if disagrees and job.answered_polls < PATIENCE:
            return self.backed_off(job, self.intervals.longest), PollReason.DISAGREES
        if listed and ledger and not ledger.gaps:
            return jittered(self.quiet_interval, SPREAD, self.rng), PollReason.VERIFIED
        reason = PollReason.MISSING if ledger and ledger.gaps else PollReason.QUIET
        return self.backed_off(job, self.intervals.without_lists(self.jobs)), reason
