"""The interface of a store."""

from collections.abc import Collection, Mapping
from typing import Protocol

from exporter.ledger.job_ledger import JobLedger


class Store(Protocol):
    """Keeps ledgers by job id."""

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """Read the committed ledgers of jobs; jobs without one are left out.

        Args:
            job_ids: the jobs; None for all.
            held: ledgers loaded or committed here before; they replace older ones in the store.

        Raises:
            UnreadableRowsError: rows of some of these jobs cannot be read.
            StoreError: nothing can be read.
        """

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Write ledgers in one transaction.

        Returns:
            Ledgers that another process has committed since they were loaded here. If there are any, nothing
            is written, and the next fold of those jobs must start from what is returned.

        Raises:
            UnreadableRowsError: nothing is written, because rows of some of these jobs cannot be read.
            StoreError: nothing is written; what was committed before remains.
        """

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Rewrite ledgers that the store has lost since they were loaded or committed here; return how many.

        Raises:
            StoreError: the store cannot be read or written.
        """

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Record when jobs without a ledger were first watched, until they have one.

        Args:
            job_ids: the jobs.
            at_ms: the time for jobs without a recorded one, by our clock.

        Returns:
            The recorded times by job id.

        Raises:
            StoreError: nothing new is recorded.
        """

    def correct_first_watched(self, times: Mapping[str, int | None]) -> None:
        """Replace recorded times of ``first_watched``, or delete them where the new one is None.

        Raises:
            StoreError: not all are replaced.
        """

    def newest_poll_ms(self) -> int | None:
        """Return when the job that was polled last was polled; None if there is no ledger.

        Raises:
            StoreError: nothing can be read.
        """

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Delete ledgers of unwatched jobs last polled before a time; return how many.

        Times of ``first_watched`` before that time are deleted as well.

        Raises:
            StoreError: nothing is deleted.
        """

    def close(self) -> None:
        """Release files and connections."""
