"""A disk that fills up under a store."""

from collections.abc import Collection, Mapping

from exporter.errors import StoreError
from exporter.ledger import JobLedger
from exporter.store import MemoryStore, Store


class Disk:
    """A store, of which no commit succeeds while ``is_full`` is set.

    Args:
        store: keeps the ledgers; by default none outlives the poller.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or MemoryStore()
        self.is_full = False

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """What the store has."""
        return self._store.load(job_ids, held)

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Keep all of these, or none where there is no room.

        Raises:
            StoreError: the disk is full.
        """
        if self.is_full:
            raise StoreError("no space left on device")
        return self._store.commit(changed)

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """As the store does."""
        return self._store.restore(held)

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """As `commit`.

        Raises:
            StoreError: the disk is full.
        """
        if self.is_full:
            raise StoreError("no space left on device")
        return self._store.first_watched(job_ids, at_ms)

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """As the store does."""
        return self._store.prune(watched, before_ms)

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()
