"""From observations to ledgers to the store. Rule 6: nothing is published that is not committed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final

from exporter.errors import StoreError, UnreadableRowsError
from exporter.ledger.fold_observations import Folded, baseline
from exporter.ledger.job_ledger import JobLedger
from exporter.ledger.job_list_evidence import apply_listed
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import JobNames
from exporter.poller.first_watched import LONGEST_WAIT_MS, FirstWatched
from exporter.poller.job_list_changes import JobListChanges
from exporter.poller.job_state import JobState, Rules, fold
from exporter.poller.project_totals import Growth, ProjectTotals
from exporter.poller.state_change_log import StateChangeLog
from exporter.poller.tasks_and_results import Observations, StagesFetched, TaskResult, Timer
from exporter.poller.watchlist import Watchlist
from exporter.poller.zero_hold import ZeroHold
from exporter.store import Store

RESTORE_EVERY_S: Final = 300.0
"""Interval of the search for ledgers that the store has lost, and of new tries with unreadable rows."""

COMMIT_TRIES: Final = 3
"""Maximum number of folds of observations into what another process has committed meanwhile."""


@dataclass(slots=True, eq=False)
class LedgerCommits:
    """The ledgers of the watched jobs and the store. Failures are counted, logged, and retried.

    Attributes:
        first_watched: when jobs without a ledger were first watched.
        has_room: whether more series may be published.
        wall: seconds since the epoch.
        monotonic: seconds that no setting of a clock changes.
        totals: of projects; None if jobs have histograms of their own.
        leaving: the last growth of discovered jobs that are gone, by id, until that is committed.
    """

    watchlist: Watchlist
    store: Store
    first_watched: FirstWatched
    rules: Rules
    zero_hold: ZeroHold
    telemetry: Telemetry
    log: StateChangeLog
    has_room: Callable[[], bool]
    wall: Callable[[], float]
    monotonic: Callable[[], float]
    totals: ProjectTotals | None = None
    leaving: dict[str, Growth] = field(default_factory=dict)
    _restore_at: float = 0.0
    _commit_failed: bool = False
    # A set in insertion order, so that a commit does not search all states.
    _uncommitted: dict[JobState, None] = field(default_factory=dict)
    # As committed when they left, although the store may have a commit whose response was lost.
    _returning: dict[str, JobLedger | None] = field(default_factory=dict)
    _stale_rows: dict[str, JobLedger] = field(default_factory=dict)  # totals that differ in the store
    _unreadable: frozenset[str] = frozenset()  # keys of rows that the store cannot read

    @property
    def ledgers(self) -> dict[str, JobLedger]:
        """Ledgers of the watched jobs, as committed."""
        return {job.id: job.ledger for job in self.watchlist.states.values() if job.ledger is not None}

    @property
    def rows(self) -> dict[str, JobLedger]:
        """Ledgers and totals as committed, by their keys in the store."""
        totals = self.totals.states.values() if self.totals else ()
        return self.ledgers | {total.id: total.ledger for total in totals if total.ledger}

    def carry_over(self, before: "LedgerCommits") -> None:
        """Take over what could not be committed, and since when jobs without a ledger are watched."""
        buckets = self.rules.buckets
        known = before.watchlist.states
        for job_id, job in self.watchlist.states.items():
            if not (previous := known.get(job_id)):
                continue
            self.first_watched.carry_over(before.first_watched, job, previous)
            ahead, ledger = previous.uncommitted, previous.ledger
            if ahead and ledger and job.ledger == ledger.with_buckets(buckets):
                self.add(job, ahead.with_buckets(buckets))
        for job_id, growth in before.leaving.items():
            if job_id not in self.watchlist.states:
                self.leaving[job_id] = growth.with_buckets(buckets)
        if self.totals and before.totals:
            self._stale_rows = self.totals.carry_over(before.totals)
            left = {job_id: growth.before for job_id, growth in before.leaving.items()}
            self._catch_up({**before.ledgers, **left})

    def _catch_up(self, known: Mapping[str, JobLedger | None]) -> None:
        """Add to totals what the store's ledgers of watched jobs have more than those known before.

        So what another process has committed meanwhile is not missing in them.
        """
        growth = [
            Growth(self.watchlist.project_of(job_id), before, job.ledger).with_buckets(self.rules.buckets)
            for job_id, before in known.items()
            if (job := self.watchlist.states.get(job_id)) and job.ledger
        ]
        for total, ledger in (self.totals.grown(growth) if self.totals else {}).items():
            total.ledger = self._stale_rows[total.id] = ledger

    def add(self, job: JobState, ledger: JobLedger) -> None:
        """Give a job a new ledger, which the next commit writes."""
        job.uncommitted = ledger
        self._uncommitted[job] = None

    def watch(self, jobs: Iterable[JobState], ago_ms: int = 0) -> None:
        """Watch jobs from now on, or since `ago_ms`; those without a ledger remember since when."""
        watched_at = self.monotonic() - max(0, ago_ms) / 1000
        for job in jobs:
            if growth := self.leaving.pop(job.id, None):
                self._returning[job.id] = growth.before
            self.first_watched.begin(job, watched_at)

    def drop(self, jobs: Iterable[JobState]) -> None:
        """Stop watching jobs; their ledgers are committed as gone."""
        for job in jobs:
            if ledger := job.latest:
                row = ledger.as_removed(self.watchlist.names(job.id))
                self.leaving[job.id] = Growth(self.watchlist.project_of(job.id), job.ledger, row)
            self._uncommitted.pop(job, None)
            self.first_watched.forget(job)

    def waited_ms(self, watched_at: float | None) -> int:
        """Milliseconds since a job was first watched; callable on any thread."""
        if watched_at is None:
            return 0
        return min(round((self.monotonic() - watched_at) * 1000), LONGEST_WAIT_MS)

    def keep_first_watched(self) -> None:
        """Store when jobs were first watched, before the first request about them; the next call retries."""
        try:
            self.first_watched.keep(self.watchlist.states, self.monotonic())
        except Exception as error:
            self._store_failed("first_watched", error)

    def apply_lists(self, changes: JobListChanges, at_ms: int, now_ms: int) -> None:
        """Change the ledgers of jobs that lists show without a build, running, renamed or back."""
        states, buckets = self.watchlist.states, self.rules.buckets
        for job_id in changes.never_built:
            since_ms = now_ms - self.waited_ms(states[job_id].watched_at)
            self.add(states[job_id], baseline((), at_ms=at_ms, buckets=buckets, since_ms=since_ms).ledger)
        for job_id, build in changes.running.items():
            if ledger := states[job_id].latest:
                self.add(states[job_id], apply_listed(ledger, build, at_ms=at_ms))
        for job in states.values():
            if (ledger := job.latest) and (ledger.gone or ledger.names != self.watchlist.names(job.id)):
                self.add(job, ledger)

    def fold_and_commit(
        self, results: Collection[tuple[JobState, TaskResult]], now_ms: int
    ) -> tuple[set[str], dict[Timer, TaskResult]]:
        """Fold what was observed, and commit it with all other uncommitted changes.

        If another process has committed a job meanwhile, the observations are folded into its ledger.

        Returns:
            Ids of the jobs that have a new ledger, and failures in place of results that cannot be folded.
        """
        rules = self.rules if self.has_room() else self.rules.overflow_labels()
        committed: set[str] = set()
        broken: dict[Timer, TaskResult] = {}
        for _ in range(COMMIT_TRIES):
            folded: list[tuple[JobState, Folded | None]] = []
            for job, result in results:
                try:
                    folded.append((job, self._fold(job, result, rules, now_ms)))
                except Exception as error:  # one job's answers must not end the thread that serves all
                    self.log.unexpected_error(result.timer)
                    broken[result.timer] = TaskResult(result.timer, error=error)
            done, conflicts = self._commit()
            committed |= done
            for job, change in folded:
                if change and job.id not in conflicts:
                    self.telemetry.capped_builds.inc(change.capped)
                    for reason in change.faults:
                        self.telemetry.payload_fault("record-info", reason)
            results = [(job, result) for job, result in results if job.id in conflicts]
            if not conflicts:
                break
        return committed, broken

    def _fold(self, job: JobState, result: TaskResult, rules: Rules, now_ms: int) -> Folded | None:
        observed = result.value
        if not isinstance(observed, Observations | StagesFetched):
            return None
        if isinstance(observed, Observations):
            self.watchlist.rename(job.id, JobNames(project_id=observed.project_id))
            if observed.is_first:  # its answer may have shown how wrong our clock is
                waited_ms = max(0, self.waited_ms(job.watched_at) - (now_ms - observed.at_ms))
                observed = replace(observed, waited_ms=waited_ms, after_gap=waited_ms > rules.gap_ms)
        ledger = job.latest
        folded = fold(ledger, observed, rules, now_ms=now_ms)
        if folded and folded.ledger is not ledger:
            self.add(job, folded.ledger)
        return folded

    def _commit(self) -> tuple[set[str], frozenset[str]]:
        """Commit all changes; those that fail are retried with the next commit.

        Returns:
            The jobs that have a new ledger, and those whose ledger another process has committed. If there
            are any of these, nothing else is committed yet.
        """
        changed = {
            job: job.uncommitted.with_names(self.watchlist.names(job.id))
            for job in self._uncommitted
            if job.uncommitted and self._is_writable(job.id, self.watchlist.project_of(job.id))
        }
        leaving = {
            job_id: growth
            for job_id, growth in self.leaving.items()
            if self._is_writable(job_id, growth.project)
        }
        stale = {key: row for key, row in self._stale_rows.items() if key not in self._unreadable}
        if not changed and not leaving and not stale:
            return set(), frozenset()
        if self._unreadable:
            self.telemetry.store_errors.labels("commit").inc()
        totals = self._totals_after(changed, leaving.values())
        rows = {job.id: ledger for job, ledger in (changed | totals).items()}
        left = {job_id: growth.after for job_id, growth in leaving.items()}
        try:
            newer = self.store.commit(stale | rows | left)
        except UnreadableRowsError as error:
            self._set_aside(error)
            return self._commit()
        except Exception as error:
            self._commit_failed = True
            self._store_failed("commit", error)
            return set(), frozenset()
        self.log.store_works()
        self.telemetry.committed(len(self._unreadable))
        if self._commit_failed:
            self._commit_failed = False
            self._restore_at = 0.0  # the server may be another one by now
        if newer:
            newer |= self._counted_elsewhere(newer.keys() & {total.id for total in totals})
            states, buckets = self.watchlist.states, self.rules.buckets
            adopted = {states[key]: row.with_buckets(buckets) for key, row in newer.items() if key in states}
            totals = self._totals_after(adopted)  # as much as another process has counted
            self._stale_rows |= {total.id: ledger for total, ledger in totals.items()}
            for job_id in self.leaving.keys() & newer.keys():
                del self.leaving[job_id]
            self._accept(adopted, totals)
            return {job.id for job in adopted}, frozenset(newer)
        self._stale_rows = {key: row for key, row in self._stale_rows.items() if key not in stale}
        self.leaving = {job_id: growth for job_id, growth in self.leaving.items() if job_id not in leaving}
        self._accept(changed, totals)
        return {job.id for job in changed}, frozenset()

    def _counted_elsewhere(self, totals: Set[str]) -> dict[str, JobLedger]:
        """Return ledgers of jobs from which another process has made these totals grow.

        Our total lacks those builds, and must not replace the one in the store without them.
        """
        buckets, project_of = self.rules.buckets, self.watchlist.project_of
        held = {
            job_id: ledger
            for job_id, ledger in self.ledgers.items()
            if self.totals and self.totals.key_of(project_of(job_id)) in totals
        }
        try:
            kept = self.store.load(held.keys() - self._unreadable, held) if held else {}
        except StoreError:
            return {}  # their next polls find them
        return {key: row for key, row in kept.items() if row.with_buckets(buckets) != held[key]}

    def _is_writable(self, job_id: str, project: str) -> bool:
        """Return whether the rows of a job and of its project's total can be written."""
        keys = {job_id, self.totals.key_of(project)} if self.totals and self._unreadable else {job_id}
        return not keys & self._unreadable

    def _set_aside(self, error: UnreadableRowsError) -> None:
        """Leave rows that cannot be read as they are for some minutes, so that they cost nothing else."""
        self._unreadable |= error.job_ids
        self.telemetry.unreadable_ledgers = len(self._unreadable)
        self.log.rows_unreadable(error)

    def _accept(self, ledgers: dict[JobState, JobLedger], totals: dict[JobState, JobLedger]) -> None:
        """Publish ledgers that the store has, and the totals after them."""
        now = self.monotonic()
        for state, ledger in (ledgers | totals).items():
            before, state.ledger = state.ledger, ledger
            state.uncommitted = state.watched_at = None
            self._uncommitted.pop(state, None)
            self.first_watched.forget(state)
            self.zero_hold.hold_new(state, before, now)

    def _totals_after(
        self, changed: Mapping[JobState, JobLedger], left: Iterable[Growth] = ()
    ) -> dict[JobState, JobLedger]:
        """Return the totals of projects after a commit of those ledgers, and of jobs that have left."""
        if self.totals is None:
            return {}
        project_of = self.watchlist.project_of
        growth = (Growth(project_of(job.id), job.ledger, ledger) for job, ledger in changed.items())
        return self.totals.grown((*growth, *left))

    def load(self) -> list[str]:
        """Load the ledgers of jobs that were not loaded yet; return the ids of those that have one."""
        states = self.watchlist.states.values()
        to_load = {job.id: job for job in states if not job.loaded and job.id not in self._unreadable}
        if not to_load:
            return []
        try:
            kept = self.store.load(to_load)
        except UnreadableRowsError as error:
            self.telemetry.store_errors.labels("load").inc()
            self._set_aside(error)
            return self.load()
        except StoreError as error:
            self._store_failed("load", error)
            return []
        for job in to_load.values():
            job.loaded = True
            if ledger := kept.get(job.id):
                job.ledger, job.watched_at = ledger.with_buckets(self.rules.buckets), None
                self.first_watched.forget(job)
        loaded = self._returning.keys() & kept.keys()
        self._catch_up({job_id: self._returning.pop(job_id) for job_id in loaded})
        return list(kept)

    def restore(self) -> None:
        """Write committed ledgers that the store has lost, as a Redis that went back in time has."""
        try:
            restored = self.store.restore(self.rows)
        except Exception as error:
            self._store_failed("restore", error)
            return
        if restored:
            self.telemetry.store_errors.labels("restore").inc()
            self.log.store_went_back(restored)

    def restore_in_time(self) -> None:
        """Call `restore` every few minutes, and after failed commits."""
        now = self.monotonic()
        if now >= self._restore_at:
            self._restore_at = now + RESTORE_EVERY_S
            self._unreadable = frozenset()
            self.restore()

    def _store_failed(self, operation: str, error: Exception) -> None:
        self.telemetry.store_failed(operation, str(error), round(self.wall() * 1000))
        self.log.store_failed(error)
