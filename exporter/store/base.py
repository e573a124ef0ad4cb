"""What a store does, and the one that keeps nothing."""

from collections.abc import Collection, Mapping
from typing import Protocol

from exporter.ledger import JobLedger


class Store(Protocol):
    """Keeps ledgers by job id."""

    def load(self, job_ids: Collection[str] | None) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs, or all; jobs without one are left out.

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

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Drop the ledgers of jobs that are not watched and were last polled before then; how many.

        Raises:
            StoreError: none is dropped.
        """

    def close(self) -> None:
        """Let go of files and connections."""


class MemoryStore:
    """``:memory:``: nothing outlives the process; every start is a baseline."""

    def load(self, job_ids: Collection[str] | None) -> dict[str, JobLedger]:
        """Nothing: a store is loaded at the start."""
        return {}

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """The poller keeps them."""
        return {}

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Nothing is kept, so nothing is dropped."""
        return 0

    def close(self) -> None:
        """Nothing to let go of."""
