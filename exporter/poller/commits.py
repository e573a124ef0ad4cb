"""Observations into ledgers, ledgers into the store: rule 6, nothing is published that is not committed."""

from collections.abc import Callable, Collection
from typing import Final

from exporter.errors import StoreError
from exporter.ledger import Folded, JobLedger
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import JobNames
from exporter.poller.job_state import JobState, Rules, fold
from exporter.poller.state_change_log import StateChangeLog
from exporter.poller.tasks import Observations, StagesFetched, TaskResult, Timer
from exporter.poller.watchlist import Watchlist
from exporter.poller.zero_hold import ZeroHold
from exporter.store import Store

RESTORE_EVERY_S: Final = 300.0
"""So often the store is searched for ledgers that it holds older than they were committed."""

COMMIT_TRIES: Final = 3
"""So often observations are folded into what another process has committed meanwhile."""


class Commits:
    """The ledgers of the watched jobs and the store. What fails is counted, logged, and tried again.

    Args:
        watchlist: holds the state of each job.
        store: keeps the ledgers.
        rules: from the configuration.
        zero_hold: holds labels that a commit shows for the first time.
        telemetry: counts what fails.
        log: of changes.
        has_room: whether more series may be published.
        wall: seconds since the epoch.
        monotonic: seconds that never jump.

    Attributes:
        leaving: ledgers of discovered jobs that are gone, as long as that is not committed.
    """

    def __init__(
        self,
        watchlist: Watchlist,
        store: Store,
        rules: Rules,
        zero_hold: ZeroHold,
        telemetry: Telemetry,
        log: StateChangeLog,
        *,
        has_room: Callable[[], bool],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._watchlist = watchlist
        self._store = store
        self._rules = rules
        self._zero_hold = zero_hold
        self._telemetry = telemetry
        self._log = log
        self._has_room = has_room
        self._wall = wall
        self._monotonic = monotonic
        self._restore_at = 0.0
        self._fail = False
        self.leaving: dict[str, JobLedger] = {}

    @property
    def ledgers(self) -> dict[str, JobLedger]:
        """Of the watched jobs, as committed."""
        return {job.id: job.ledger for job in self._watchlist.states.values() if job.ledger is not None}

    def keep_first_watched(self) -> None:
        """Keep in the store when jobs were first watched, before they are asked about.

        An earlier moment that the store holds wins. What cannot be kept now is tried again.
        """
        moments: dict[float, list[str]] = {}
        for job in self._watchlist.states.values():
            if job.watched_at is not None and not job.watch_kept:
                moments.setdefault(job.watched_at, []).append(job.id)
        now_ms, now = round(self._wall() * 1000), self._monotonic()
        for at, job_ids in moments.items():
            try:
                kept = self._store.first_watched(job_ids, now_ms - round((now - at) * 1000))
            except Exception as error:
                self._store_failed("first_watched", error)
                return
            for job_id, kept_ms in kept.items():
                job = self._watchlist.states[job_id]
                job.watched_at, job.watch_kept = min(at, now - (now_ms - kept_ms) / 1000), True

    def fold_and_commit(
        self, results: Collection[tuple[JobState, TaskResult]], now_ms: int
    ) -> tuple[set[str], dict[Timer, Exception]]:
        """Fold what was observed, and commit it with all that is not committed yet.

        Where another process has committed a job meanwhile, the observations are folded into its ledger.

        Args:
            results: of watched jobs.
            now_ms: the present by the service's clock.

        Returns:
            The ids of the jobs that have a new ledger, and why tasks are without effect that could not be
            folded.
        """
        rules = self._rules if self._has_room() else self._rules.overflow_labels()
        committed: set[str] = set()
        broken: dict[Timer, Exception] = {}
        for _ in range(COMMIT_TRIES):
            folded: list[tuple[JobState, Folded | None]] = []
            for job, result in results:
                try:
                    folded.append((job, self._fold(job, result, rules, now_ms)))
                except Exception as error:  # one job's answers must not end the thread that serves all
                    self._log.bug(result.timer)
                    broken[result.timer] = error
            done, conflicts = self._commit()
            committed |= done
            for job, one in folded:
                if one and job.id not in conflicts:
                    self._count(one)
            results = [(job, result) for job, result in results if job.id in conflicts]
            if not results:
                break
        return committed, broken

    def _fold(self, job: JobState, result: TaskResult, rules: Rules, now_ms: int) -> Folded | None:
        """The ledger with what a task observed is `JobState.ahead` until it is committed."""
        if not isinstance(result.value, Observations | StagesFetched):
            return None
        if isinstance(result.value, Observations):
            self._watchlist.rename(job.id, JobNames(project_id=result.value.project_id))
        ledger = job.latest
        folded = fold(ledger, result.value, rules, now_ms=now_ms)
        if folded and folded.ledger is not ledger:
            job.ahead = folded.ledger
        return folded

    def _count(self, folded: Folded) -> None:
        self._telemetry.capped_builds.inc(folded.capped)
        for reason in folded.faults:
            self._telemetry.payload_fault("record-info", reason)

    def _commit(self) -> tuple[set[str], frozenset[str]]:
        """Rule 6: nothing is published that is not committed. What fails is tried again with the next commit.

        Returns:
            The jobs that have a new ledger, and those of them whose ledger another process has committed.
        """
        waiting = [job for job in self._watchlist.states.values() if job.ahead is not None]
        changed = {
            job.id: job.ahead.with_names(self._watchlist.names(job.id)) for job in waiting if job.ahead
        }
        if not changed and not self.leaving:
            return set(), frozenset()
        try:
            newer = self._store.commit({**changed, **self.leaving})
        except Exception as error:
            self._fail = True
            self._store_failed("commit", error)
            return set(), frozenset()
        self._log.store_works()
        if self._fail:
            self._fail = False
            self._restore_at = 0.0  # the server may be another one by now
        self.leaving = {}
        now = self._monotonic()
        for job in waiting:
            before = job.ledger
            other = newer.get(job.id)
            job.ledger = other.with_buckets(self._rules.buckets) if other else changed[job.id]
            job.ahead, job.watched_at, job.answered = None, None, True
            self._zero_hold.see(job, before, now)
        return set(changed), frozenset(newer)

    def load(self, job_ids: Collection[str]) -> dict[str, JobLedger] | None:
        """The ledgers that are kept of those jobs; None where the store cannot be read now."""
        try:
            kept = self._store.load(job_ids)
        except StoreError as error:
            self._store_failed("load", error)
            return None
        return {job_id: one.with_buckets(self._rules.buckets) for job_id, one in kept.items()}

    def restore(self) -> None:
        """Write again what the store has lost of the committed ledgers, as a Redis that went back has."""
        try:
            restored = self._store.restore(self.ledgers)
        except Exception as error:
            self._store_failed("restore", error)
            return
        if restored:
            self._telemetry.store_errors.labels("restore").inc()
            self._log.store_went_back(restored)

    def _store_failed(self, operation: str, error: Exception) -> None:
        self._telemetry.store_errors.labels(operation).inc()
        if isinstance(error, StoreError):
            self._log.store_failed(error)
        else:
            self._log.bug(None)

    def restore_in_time(self) -> None:
        """Do `restore` every few minutes, and after commits failed."""
        now = self._monotonic()
        if now >= self._restore_at:
            self._restore_at = now + RESTORE_EVERY_S
            self.restore()
