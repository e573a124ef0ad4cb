"""Ledgers to the store and back: what fails is told, and is tried again with what comes next."""

from collections.abc import Collection, Mapping

from exporter.errors import StoreError
from exporter.ledger import Buckets, JobLedger
from exporter.poller.transitions import COMMIT, Transitions
from exporter.store import Store
from exporter.telemetry import Telemetry


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

    def load(self, job_ids: Collection[str]) -> dict[str, JobLedger] | None:
        """The ledgers that are kept of those jobs; None where they cannot be had now."""
        try:
            kept = self._store.load(job_ids)
        except StoreError as error:
            self._telemetry.store_errors.labels("load").inc()
            self._transitions.store_failed(error)
            return None
        return self._rebounded(kept)

    def commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Rule 6: nothing is published that is not committed. What holds from now on, none if it failed."""
        if not changed and not self.leaving:
            return {}
        try:
            newer = self._store.commit({**changed, **self.leaving})
        except StoreError as error:
            self._telemetry.store_errors.labels("commit").inc()
            self._transitions.store_failed(error)
            return {}
        except Exception:
            self._telemetry.store_errors.labels("commit").inc()
            self._transitions.bug(COMMIT)
            return {}
        self._transitions.store_works()
        self.leaving = {}
        newer = self._rebounded(newer)
        return {job_id: newer.get(job_id, one) for job_id, one in changed.items()}

    def _rebounded(self, ledgers: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        return {job_id: one.rebounded(self._buckets) for job_id, one in ledgers.items()}
