"""What a store does, and the one that keeps nothing."""

from collections.abc import Collection, Mapping
from typing import Protocol

from exporter.ledger import JobLedger


class Store(Protocol):
    """Keeps ledgers by job id."""

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs, or all; jobs without one are left out.

        Args:
            job_ids: the jobs; None for all.
            held: as loaded or committed here before; where the store has only older ones, they stand.

        Raises:
            StoreError: they cannot be read.
        """

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Keep these, as one transaction.

        Returns:
            The ledgers that somebody else has committed since they were loaded here: those jobs' changes
            are not kept, and the next fold must start from what is returned.

        Raises:
            StoreError: none of them is kept; what was committed before stands.
        """

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Write again what the store has lost of these since they were loaded or committed here; how many.

        Raises:
            StoreError: it cannot be found out, or not be written.
        """

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Keep the moment when jobs without a ledger were first watched, until they have one.

        Args:
            job_ids: the jobs.
            at_ms: that moment for those of which none is kept, our clock.

        Returns:
            The moments that are kept now, by job id.

        Raises:
            StoreError: no moment is kept that was not before.
        """

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Drop what is kept of jobs that are not watched and were last polled before then; how many ledgers.

        Of a job that was never polled, the moment counts when it was first watched.

        Raises:
            StoreError: none is dropped.
        """

    def close(self) -> None:
        """Let go of files and connections."""


class MemoryStore:
    """``:memory:``: nothing outlives the process; every start is a baseline."""

    def __init__(self) -> None:
        self._moments: dict[str, int] = {}

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """The ledgers that are held; nothing else outlives a poller."""
        return dict(held or {})

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """The poller keeps them."""
        for job_id in changed:
            self._moments.pop(job_id, None)
        return {}

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Nothing is kept, so nothing is lost."""
        return 0

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """When those jobs were first watched, as long as the process lives."""
        return {job_id: self._moments.setdefault(job_id, at_ms) for job_id in job_ids}

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """No ledger is kept, so none is dropped."""
        moments = self._moments.items()
        self._moments = {job_id: ms for job_id, ms in moments if job_id in watched or ms >= before_ms}
        return 0

    def close(self) -> None:
        """Nothing to let go of."""
