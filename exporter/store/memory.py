"""The store of one process, in memory."""

from collections.abc import Collection, Mapping
from typing import Final

from exporter.ledger.job_ledger import JobLedger

MOST_GONE: Final = 1000
"""Ledgers of jobs that are gone, beyond which those that left first are forgotten."""


class MemoryStore:
    """``:memory:``: nothing outlives the process, so every start is a baseline."""

    def __init__(self) -> None:
        self._ledgers: dict[str, JobLedger] = {}
        self._gone: dict[str, None] = {}  # in the order in which they left
        self._first_watched: dict[str, int] = {}

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """Return the ledgers that were committed, and those that the caller holds."""
        wanted = self._ledgers if job_ids is None else self._ledgers.keys() & frozenset(job_ids)
        return {job_id: self._ledgers[job_id] for job_id in wanted} | dict(held or {})

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Keep the ledgers; there is no other process that could have committed meanwhile."""
        for job_id, ledger in changed.items():
            self._first_watched.pop(job_id, None)
            self._ledgers[job_id] = ledger
            if ledger.gone:
                self._gone[job_id] = None
            else:
                self._gone.pop(job_id, None)
        self._forget([*self._gone][: max(0, len(self._gone) - MOST_GONE)])
        return {}

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Return 0, as nothing can be lost."""
        return 0

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Record when jobs without a ledger were first watched."""
        return {job_id: self._first_watched.setdefault(job_id, at_ms) for job_id in job_ids}

    def correct_first_watched(self, times: Mapping[str, int | None]) -> None:
        """Replace or delete recorded times."""
        corrected = ((key, times.get(key, ms)) for key, ms in self._first_watched.items())
        self._first_watched = {key: ms for key, ms in corrected if ms is not None}

    def newest_poll_ms(self) -> int | None:
        """Return when the job that was polled last was polled."""
        return max((ledger.polled_ms for ledger in self._ledgers.values()), default=None)

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Delete ledgers of unwatched jobs last polled before a time; return how many."""
        stale = [
            job_id
            for job_id, ledger in self._ledgers.items()
            if job_id not in watched and ledger.polled_ms < before_ms
        ]
        self._forget(stale)
        times = self._first_watched.items()
        self._first_watched = {job_id: ms for job_id, ms in times if job_id in watched or ms >= before_ms}
        return len(stale)

    def close(self) -> None:
        """Do nothing."""

    def _forget(self, job_ids: Collection[str]) -> None:
        for job_id in job_ids:
            del self._ledgers[job_id]
            self._gone.pop(job_id, None)
