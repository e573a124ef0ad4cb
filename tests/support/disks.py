"""A store on a full disk."""

from collections.abc import Collection, Iterable, Mapping

from exporter.errors import StoreError, UnreadableRowsError
from exporter.ledger.job_ledger import JobLedger
from exporter.store import MemoryStore, Store


class Disk:
    """A store whose commits fail while ``is_full`` is set, and that cannot read rows that are ``unreadable``.

    Args:
        store: the underlying store; by default in memory.
    """

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or MemoryStore()
        self.is_full = False
        self.unreadable: set[str] = set()

    def load(
        self, job_ids: Collection[str] | None, held: Mapping[str, JobLedger] | None = None
    ) -> dict[str, JobLedger]:
        """Load ledgers from the store.

        Raises:
            UnreadableRowsError: some of them are unreadable.
        """
        self._refuse_unreadable(job_ids or ())
        return self._store.load(job_ids, held)

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Commit ledgers.

        Raises:
            StoreError: the disk is full, or some of them are unreadable.
        """
        if self.is_full:
            raise StoreError("no space left on device")
        self._refuse_unreadable(changed)
        return self._store.commit(changed)

    def restore(self, held: Mapping[str, JobLedger]) -> int:
        """Restore ledgers in the store."""
        return self._store.restore(held)

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """Record the jobs in the store.

        Raises:
            StoreError: the disk is full.
        """
        if self.is_full:
            raise StoreError("no space left on device")
        return self._store.first_watched(job_ids, at_ms)

    def correct_first_watched(self, times: Mapping[str, int | None]) -> None:
        """Correct them in the store.

        Raises:
            StoreError: the disk is full.
        """
        if self.is_full:
            raise StoreError("no space left on device")
        self._store.correct_first_watched(times)

    def newest_poll_ms(self) -> int | None:
        """Read it from the store."""
        return self._store.newest_poll_ms()

    def prune(self, watched: Collection[str], before_ms: int) -> int:
        """Prune the store."""
        return self._store.prune(watched, before_ms)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _refuse_unreadable(self, job_ids: Iterable[str]) -> None:
        if unreadable := self.unreadable.intersection(job_ids):
            raise UnreadableRowsError("disk", dict.fromkeys(sorted(unreadable), "it is damaged"))
