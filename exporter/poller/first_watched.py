"""The times when jobs without a ledger were first watched, in the store; counting begins then.

They are stored before the first request, when the service's clock is not known yet. Until an answer shows it,
the store has the same time under a second key too: it is in doubt. After a restart, such a time is believed
only for some minutes, since our clock may have been set meanwhile.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from exporter.api.clock_offset import ClockOffset
from exporter.model import DAY_MS
from exporter.poller.job_state import JobState, JobStates
from exporter.store import Store

LONGEST_WAIT_MS: Final = 366 * DAY_MS
"""Limit of the time for which a job counts as watched without a ledger, whatever a wrong clock has stored."""

BELIEVED_MS: Final = 30 * 60_000
"""Age up to which a time in doubt is believed; clocks that are wrong by a time zone are wrong by more."""

_DOUBT: Final = "unconfirmed:"


def doubts_of(job_ids: Iterable[str]) -> frozenset[str]:
    """Return the keys in the store under which the times of jobs are in doubt."""
    return frozenset(_DOUBT + job_id for job_id in job_ids)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A time in the store, until the service's clock is known.

    Attributes:
        began: when this process began to watch the job, monotonic seconds.
        at_ms: the time in the store, by the service's clock; None if it is in doubt.
    """

    began: float
    at_ms: int | None


@dataclass(slots=True, eq=False)
class FirstWatched:
    """Keeps in the store when the jobs in ``unkept`` were first watched.

    Attributes:
        clock: the service's clock.
        unkept: jobs whose time the store lacks, in insertion order.
    """

    store: Store
    clock: ClockOffset
    unkept: dict[JobState, None] = field(default_factory=dict)
    _kept: dict[JobState, _Kept] = field(default_factory=dict)

    def begin(self, job: JobState, watched_at: float) -> None:
        """Watch a job from that time on, monotonic seconds, unless it has a ledger or is watched already."""
        if job.latest is None and job.watched_at is None:
            job.watched_at = watched_at
            self.unkept[job] = None

    def carry_over(self, before: "FirstWatched", job: JobState, previous: JobState) -> None:
        """Continue with a job that another poller watched."""
        job.watched_at = previous.watched_at
        if previous in before.unkept:
            self.unkept[job] = None
        if kept := before._kept.get(previous):
            self._kept[job] = kept

    def forget(self, job: JobState) -> None:
        """Keep nothing more of a job that has a ledger, or is not watched any more."""
        self.unkept.pop(job, None)
        self._kept.pop(job, None)

    def keep(self, states: JobStates, now: float) -> None:
        """Store the times, and correct them once the service's clock is known; an earlier one there wins.

        Args:
            states: the watched jobs.
            now: monotonic seconds.

        Raises:
            StoreError: the next call tries again.
        """
        by_time: dict[float, list[str]] = {}
        for job in self.unkept:
            if job.watched_at is not None:
                by_time.setdefault(job.watched_at, []).append(job.id)
        for watched_at, job_ids in by_time.items():
            self._keep(states, job_ids, watched_at, now)
        if self._kept and self.clock.trusted is not None:
            self._correct(now)

    def _keep(self, states: JobStates, job_ids: list[str], watched_at: float, now: float) -> None:
        now_ms = self.clock.service_ms()
        at_ms = now_ms - round((now - watched_at) * 1000)
        keys = [key for job_id in job_ids for key in (job_id, _DOUBT + job_id)]
        times = self.store.first_watched(keys, at_ms)
        for job_id in job_ids:
            job, time_ms = states[job_id], times[job_id]
            is_in_doubt = times[_DOUBT + job_id] == time_ms
            if not is_in_doubt or 0 <= now_ms - time_ms <= BELIEVED_MS:
                job.watched_at = min(watched_at, now - (now_ms - time_ms) / 1000)
            self._kept[job] = _Kept(watched_at, None if is_in_doubt else time_ms)
            self.unkept.pop(job, None)

    def _correct(self, now: float) -> None:
        """Reckon the times by the service's clock, and end the doubts in the store."""
        now_ms = self.clock.service_ms()
        corrected: dict[str, int | None] = dict.fromkeys(doubts_of(job.id for job in self._kept))
        for job, kept in self._kept.items():
            if kept.at_ms is not None:
                job.watched_at = min(kept.began, now - (now_ms - kept.at_ms) / 1000)
            elif job.watched_at is not None:
                corrected[job.id] = now_ms - round((now - job.watched_at) * 1000)
        self.store.correct_first_watched(corrected)
        self._kept.clear()
