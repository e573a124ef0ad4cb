"""The poller: which task is due, what became of it, commit, then publish.

`take`, `settle` and everything they touch belong to one thread; `run` may be called on any, and reads
nothing that changes. `threads.PollingThreads` drives it; a test drives it by hand.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from exporter.catalogue import JobView, Snapshot
from exporter.errors import ApiError, ExporterError, NotVisibleError, RejectedError, StoreError
from exporter.ledger import JobLedger
from exporter.model import Job, RecycleBin
from exporter.poller.details import RememberedDetails
from exporter.poller.poll import Api, Polled, Rules, poll_job
from exporter.poller.schedule import Schedule
from exporter.poller.transitions import Transitions
from exporter.store import Store
from exporter.telemetry import Telemetry

RECYCLE_BIN: Final = "recycle-bin"
"""The task that is no job; job ids are 32 characters."""

_TRUSTED_OFFSET_S: Final = (5.0, 86_400.0)
"""The service's clock is believed when it is off by more than jitter and less than madness."""


class Service(Api, Protocol):
    """All that the poller asks of the API."""

    clock_offset_s: float

    def recycle_bin(self) -> RecycleBin:
        """All deleted jobs that can still be restored."""


@dataclass(frozen=True, slots=True)
class Work:
    """A task, and the committed ledger it starts from."""

    task: str
    ledger: JobLedger | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: what it brought, or why it failed."""

    task: str
    brought: Polled | RecycleBin | None = None
    error: Exception | None = None


class Poller:
    """Keeps the ledgers of the watched jobs up to date and publishes them.

    Args:
        jobs: what is watched.
        service: is asked.
        store: ledgers are committed here before they are published.
        ledgers: what the store held of these jobs.
        rules: from the configuration.
        interval: seconds between two polls of a job.
        recycle_interval: the same for the recycle bin; None leaves it alone.
        shows_fleet: whether what concerns no single job is published here.
        telemetry: counts what happens.
        wall: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        service: Service,
        store: Store,
        ledgers: Mapping[str, JobLedger],
        rules: Rules,
        *,
        interval: float,
        recycle_interval: float | None,
        shows_fleet: bool = True,
        telemetry: Telemetry,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = tuple(jobs)
        self._service = service
        self._store = store
        self._rules = rules
        self._telemetry = telemetry
        self._wall = wall
        self._monotonic = monotonic
        self._api = RememberedDetails(service, monotonic)
        self._transitions = Transitions()
        self._shows_fleet = shows_fleet
        self._ledgers = dict(ledgers)
        self._up: dict[str, bool] = {}
        self._recycle_bin: RecycleBin | None = None
        self._unanswered = {job.id for job in jobs} - set(self._ledgers)
        intervals = {job.id: interval for job in jobs}
        if recycle_interval is not None:
            intervals[RECYCLE_BIN] = recycle_interval
        self._schedule = Schedule(intervals, monotonic())
        self.snapshot = self._view()

    @property
    def is_ready(self) -> bool:
        """Every job has a ledger, from the store or a poll, or the API has said that it is not to be had."""
        return not self._unanswered

    @property
    def watched(self) -> int:
        """How many jobs are watched."""
        return len(self._jobs)

    def take(self, limit: int) -> list[Work]:
        """Up to ``limit`` tasks that are due, the most overdue first."""
        now = self._monotonic()
        self._telemetry.poll_lag.set(self._schedule.lag(now))
        return [Work(task, self._ledgers.get(task)) for task in self._schedule.take(now, limit)]

    def wait(self) -> float:
        """Seconds until a task comes due."""
        return self._schedule.wait(self._monotonic())

    def run(self, work: Work) -> Outcome:
        """Do a task: ask the API and fold what it says. Nothing that happens in one touches another."""
        try:
            if work.task == RECYCLE_BIN:
                return Outcome(work.task, self._service.recycle_bin())
            return Outcome(
                work.task, poll_job(work.task, work.ledger, self._api, self._now_ms(), self._rules)
            )
        except ExporterError as error:
            return Outcome(work.task, error=error)
        except Exception as error:
            self._transitions.bug(work.task)
            return Outcome(work.task, error=error)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Commit what tasks brought, then publish it, then schedule them anew."""
        done = list(outcomes)
        changed = {o.task: o.brought.ledger for o in done if isinstance(o.brought, Polled)}
        committed = self._commit(changed)
        self._ledgers.update(committed)
        self._unanswered.difference_update(committed)
        for outcome in done:
            self._note(outcome, kept=committed.get(outcome.task) is changed.get(outcome.task))
        self.snapshot = self._view()

    def _commit(self, changed: Mapping[str, JobLedger]) -> dict[str, JobLedger]:
        """Rule 6: nothing is published that is not committed. What holds from now on, none if it failed."""
        if not changed:
            return {}
        try:
            newer = self._store.commit(changed)
        except StoreError as error:
            self._telemetry.store_errors.labels("commit").inc()
            self._transitions.store_failed(error)
            return {}
        self._transitions.store_works()
        return {**changed, **{job_id: one.rebounded(self._rules.buckets) for job_id, one in newer.items()}}

    def _note(self, outcome: Outcome, *, kept: bool) -> None:
        """What a task's end changes besides the ledgers: faults, health, readiness, when it is due again."""
        error = outcome.error
        again = False
        if isinstance(outcome.brought, RecycleBin):
            self._recycle_bin = outcome.brought
        elif isinstance(outcome.brought, Polled):
            error = outcome.brought.error
            again = kept and outcome.brought.more
            for reason in outcome.brought.faults if kept else ():
                self._telemetry.payload_fault("record-info", reason)
        if outcome.task != RECYCLE_BIN:
            self._up[outcome.task] = error is None
            if isinstance(error, NotVisibleError | RejectedError):
                self._unanswered.discard(outcome.task)
        if error is None:
            self._transitions.succeeded(outcome.task)
        elif isinstance(error, ApiError):
            self._transitions.failed(outcome.task, error)
        self._schedule.done(outcome.task, self._monotonic(), again=again)

    def _view(self) -> Snapshot:
        deleted = self._recycle_bin.jobs if self._recycle_bin else None
        return Snapshot(
            jobs=tuple(
                JobView(
                    job=job,
                    ledger=self._ledgers.get(job.id),
                    up=self._up.get(job.id),
                    deleted=None if deleted is None else job.id in deleted,
                )
                for job in self._jobs
            ),
            recycle_bin=self._recycle_bin if self._shows_fleet else None,
            projects={job.project_id: job.project for job in self._jobs if job.project_id},
        )

    def _now_ms(self) -> int:
        offset = self._service.clock_offset_s
        jitter, madness = _TRUSTED_OFFSET_S
        return round((self._wall() + (offset if jitter < abs(offset) < madness else 0.0)) * 1000)
