"""Ledgers, and when jobs were first watched, to the store and back.

What fails is told, and is tried again with what comes next.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
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

    def first_watched(self, job_ids: Collection[str], at_ms: int) -> dict[str, int]:
        """When those jobs were first watched, ``at_ms`` if never before; kept, unless that fails now."""
        try:
            return self._store.first_watched(job_ids, at_ms)
        except Exception as error:
            self._failed("first_watched", error)
            return {}

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


class FirstWatched:
    """When the jobs that have no ledger yet were first watched: their builds count from then on.

    In memory it is a monotonic time, since our clock may be set before the first poll; the store keeps it by
    our clock.

    Args:
        commits: keeps the moments.
        wall: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    def __init__(self, commits: Commits, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._commits = commits
        self._wall = wall
        self._monotonic = monotonic
        self._at: dict[str, float] = {}
        self._unkept: set[str] = set()

    def go_on_from(self, before: "FirstWatched", watched: Collection[str]) -> None:
        """Take up what was known of the jobs that are still watched."""
        self._at = {job_id: at for job_id, at in before._at.items() if job_id in watched}
        self._unkept = before._unkept & self._at.keys()

    def at(self, job_id: str) -> float | None:
        """When a job was first watched, monotonic seconds; None where it has a ledger."""
        return self._at.get(job_id)

    def waited_ms(self, at: float | None) -> int:
        """How long ago that was, in milliseconds; may be asked on any thread."""
        return 0 if at is None else round((self._monotonic() - at) * 1000)

    def add(self, job_ids: Iterable[str], ago_ms: int = 0) -> None:
        """Those jobs, which have no ledger here, are watched from now on, or since ``ago_ms``."""
        new = set(job_ids) - self._at.keys()
        self._at |= dict.fromkeys(new, self._monotonic() - max(0, ago_ms) / 1000)
        self._unkept |= new

    def keep(self) -> None:
        """Commit what is not yet; an earlier moment that the store holds wins. To be done before a poll."""
        now_ms, now = round(self._wall() * 1000), self._monotonic()
        for at in {self._at[job_id] for job_id in self._unkept}:
            job_ids = {job_id for job_id in self._unkept if self._at[job_id] == at}
            kept = self._commits.first_watched(job_ids, now_ms - self.waited_ms(at))
            self._at |= {job_id: min(at, now - (now_ms - ms) / 1000) for job_id, ms in kept.items()}
            self._unkept -= kept.keys()

    def forget(self, job_ids: Iterable[str]) -> None:
        """Those jobs have a ledger, or are not watched any more."""
        for job_id in job_ids:
            self._at.pop(job_id, None)
            self._unkept.discard(job_id)
