"""Where ledgers outlive a poll: load once at the start, commit before anything is published (rule 6)."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from exporter.ledger import JobLedger


class Store(Protocol):
    """Keeps ledgers by job id."""

    def load(self, job_ids: Iterable[str]) -> dict[str, JobLedger]:
        """The ledgers that were committed for those jobs; jobs without one are left out.

        Raises:
            StoreError: they cannot be read.
        """

    def commit(self, changed: Mapping[str, JobLedger]) -> None:
        """Keep all of these, or none.

        Raises:
            StoreError: none of them is kept; what was committed before stands.
        """

    def close(self) -> None:
        """Let go of files and connections."""


class MemoryStore:
    """``:memory:``: nothing outlives the process; every start is a baseline."""

    def __init__(self) -> None:
        self._ledgers: dict[str, JobLedger] = {}

    def load(self, job_ids: Iterable[str]) -> dict[str, JobLedger]:
        """What this process has committed."""
        return {job_id: self._ledgers[job_id] for job_id in job_ids if job_id in self._ledgers}

    def commit(self, changed: Mapping[str, JobLedger]) -> None:
        """Keep all of these."""
        self._ledgers.update(changed)

    def close(self) -> None:
        """Nothing to let go of."""
