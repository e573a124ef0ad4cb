"""Ledgers to the store and back: what fails is told, and is tried again with what comes next."""

from collections.abc import Collection, Mapping
from typing import Final

from exporter.errors import StoreError
from exporter.ledger import Buckets, JobLedger
from exporter.poller.transitions import COMMIT, Transitions
from exporter.store import Store
from exporter.telemetry import Telemetry

RESTORE_EVERY_S: Final = 300.0
"""So often the store is searched for ledgers that it holds older than they were committed."""


class Commits:
    """The store, as a poller uses it.

    Args:
        store: keeps the ledgers.
        buckets: those of today; ledgers come under them.
        telemetry: counts what fails.
        transitions: tell of it.

    Attributes:
        leaving: ledgers of discovered jobs that are gone, as long as that is not committed.
    """

    def __init__(
        self, store: Store, buckets: Buckets, telemetry: Telemetry, transitions: Transitions
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._telemetry = telemetry
        self._transitions = transitions
        self.leaving: dict[str, JobLedger] = {}
        self._restore_at = 0.0
        self._failing = False

    def load(self, job_ids: Collection[str]) -> dict[str, JobLedger] | None:
        """The ledgers that are kept of those jobs; None where they cannot be had now."""
        try:
            kept = self._store.load(job_ids)
        except StoreError as error:
            self._failed("load", error)
            return None
        return self._rebounded(kept)

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Rule 6: nothing is published that is not committed. What holds from now on, none if it failed."""
        if not changed and not self.leaving:
            return {}
        try:
            newer = self._store.commit({**changed, **self.leaving})
        except Exception as error:
            self._failing = True
            self._failed("commit", error)
            return {}
        self._transitions.store_works()
        if self._failing:
            self._failing = False
            self._restore_at = 0.0
        self.leaving = {}
        newer = self._rebounded(newer)
        return {job_id: newer.get(job_id, one) for job_id, one in changed.items()}

    def restore(self, held: Mapping[str, JobLedger], now: float | None = None) -> None:
        """Write again what the store has lost of the committed ledgers, as a Redis that went back has.

        Does nothing until it is time: every few minutes, and after commits failed, since the server may be
        another one by then.

        Args:
            held: of all watched jobs, as committed.
            now: seconds that never jump; without them, it is time.
        """
        if now is not None:
            if now < self._restore_at:
                return
            self._restore_at = now + RESTORE_EVERY_S
        try:
            restored = self._store.restore(held)
        except Exception as error:
            self._failed("restore", error)
            return
        if restored:
            self._telemetry.store_errors.labels("restore").inc()
            self._transitions.store_went_back(restored)

    def _failed(self, operation: str, error: Exception) -> None:
        self._telemetry.store_errors.labels(operation).inc()
        if isinstance(error, StoreError):
            self._transitions.store_failed(error)
        else:
            self._transitions.bug(COMMIT)

    def _rebounded(self, ledgers: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        return {job_id: one.rebounded(self._buckets) for job_id, one in ledgers.items()}
