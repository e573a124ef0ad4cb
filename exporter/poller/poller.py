"""The coordinator's steps: take what is due, fold what it brought, commit, then publish.

`take`, `settle` and everything they touch belong to one thread; `run` may be called on any: it gets a ledger
to look at and returns observations. `workers.PollingThreads` drives it; a test drives it by hand.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from exporter.api.clock import service_ms, with_settled_clock
from exporter.errors import ApiError, ExporterError, NotVisibleError, RejectedError
from exporter.ledger import JobLedger, apply_history, baseline
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import DAY_MS, Job, RecycleBin
from exporter.poller.commits import Commits
from exporter.poller.job_state import JobState, Rules
from exporter.poller.observe import Service, ask_stages, observe_job, read_lists
from exporter.poller.planner import PollPlanner
from exporter.poller.readiness import Readiness
from exporter.poller.refusals import everything_refused, note_end
from exporter.poller.stages import StageSteps
from exporter.poller.state_change_log import StateChangeLog
from exporter.poller.tasks import (
    JOB_LISTS,
    RECYCLE_BIN,
    JobListsResult,
    Observations,
    StagesFetched,
    TaskResult,
    Timer,
    Work,
    is_of_stages,
    job_of,
)
from exporter.poller.zero_hold import ZeroHold
from exporter.store import Store

SECOND_TRY_S: Final = 10.0
"""A build that history shows and record-info denies is asked for again after so long: replicas lag."""

LONGEST_WAIT_MS: Final = 366 * DAY_MS
"""No job is treated as watched for longer than this without a ledger, whatever a wrong clock has stored."""


class Poller:
    """Keeps the ledgers of the watched jobs up to date and publishes them.

    Args:
        planner: knows what is watched and what is due; its watchlist holds the state of each job.
        service: answers.
        store: ledgers are committed here before they are published.
        ledgers: what the store held of the watched jobs.
        rules: from the configuration.
        shows_fleet: whether what concerns no single job is published here.
        has_room: whether more series may be published.
        concurrency: tasks that may be under way at once.
        telemetry: counts what happens.
        before: the poller that this one replaces; it must have stopped.
        same_service: whether ``before`` asked the same service, with the same credentials.
        wall: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        planner: PollPlanner,
        service: Service,
        store: Store,
        ledgers: Mapping[str, JobLedger],
        rules: Rules,
        *,
        shows_fleet: bool = True,
        has_room: Callable[[], bool] = lambda: True,
        concurrency: int = 1,
        telemetry: Telemetry,
        before: "Poller | None" = None,
        same_service: bool = False,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._planner = planner
        self._watchlist = planner.watchlist
        self._service = service
        self._rules = rules
        self._telemetry = telemetry
        self._wall = wall
        self._monotonic = monotonic
        self._shows_fleet = shows_fleet
        self._log: StateChangeLog = before._log if before else StateChangeLog()
        self._stages = StageSteps(planner.intervals.interval, concurrency, planner.rng)
        self._zero_hold = ZeroHold(rules.policy)
        self._recycle_bin: RecycleBin | None = None
        self._commits = Commits(
            self._watchlist,
            store,
            rules,
            self._zero_hold,
            telemetry,
            self._log,
            has_room=has_room,
            wall=wall,
            monotonic=monotonic,
        )
        for job in self._states.values():
            job.ledger = ledgers.get(job.id)
        answered = self._carry_over(before, same_service) if before else frozenset()
        refused = self._watchlist.watched_projects - planner.own_lists(monotonic()).keys()
        self._readiness = Readiness(self._watchlist, answered, refused)
        if self._recycle_bin and before:
            judged = before._watchlist.discovered
            self._drop_deleted(self._recycle_bin.jobs.keys() - judged)
        self._watch_from_now(self._states.values())
        self._commits.keep_first_watched()
        self._want_stages(self._states)
        self._jobs: tuple[Job, ...] = ()
        self._publish()

    @property
    def _states(self) -> dict[str, JobState]:
        return self._watchlist.states

    @property
    def is_ready(self) -> bool:
        """Every job, of watched projects too, has a ledger, or the API has refused it."""
        return self._readiness.is_ready

    @property
    def ledgers(self) -> Mapping[str, JobLedger]:
        """Of the watched jobs, as committed."""
        return self._commits.ledgers

    @property
    def leaving(self) -> Mapping[str, JobLedger]:
        """Of discovered jobs that are gone, as long as that is not committed."""
        return self._commits.leaving

    @property
    def watched(self) -> int:
        """How many jobs are watched."""
        return self._watchlist.size

    def now_ms(self) -> int:
        """The present, by the service's clock where it is trusted, else by ours."""
        return service_ms(self._wall(), self._service.clock.trusted)

    def take(self, limit: int) -> list[Work]:
        """Up to ``limit`` tasks that are due, the most overdue first; stages when nothing else is.

        Labels that were held at 0 until now are published.
        """
        now = self._monotonic()
        self._commits.restore_in_time()
        if released := self._zero_hold.release(now):
            self._publish(released)
        self._telemetry.poll_lag.set(self._planner.lag(now))
        timers = self._planner.take(now, limit)
        timers += self._stages.take(now, limit - len(timers))
        return [self._work(timer, now) for timer in timers]

    def resume(self, service: Service) -> None:
        """Go on after a stop: what was under way is due again, and is asked through this service."""
        self._service = service
        self._planner.requeue()
        self._stages.requeue()

    def finish(self) -> None:
        """Before a stop: leave nothing older in the store than what was shown."""
        self._commits.restore()

    def wait(self) -> float:
        """Seconds until a task comes due, or a label is released."""
        now = self._monotonic()
        return min(self._planner.wait(now), self._stages.wait(now), self._zero_hold.wait(now))

    def run(self, work: Work) -> TaskResult:
        """Do a task: ask the API. An exception in one task touches no other."""
        try:
            return TaskResult(work.timer, self._ask(work))
        except ExporterError as error:
            return TaskResult(work.timer, error=error)
        except Exception as error:
            self._log.bug(work.timer)
            return TaskResult(work.timer, error=error)

    def settle(self, results: Iterable[TaskResult]) -> None:
        """Fold what tasks brought, commit it, then publish it, then plan what comes next."""
        done = list(results)
        for result in done:
            if result.task == JOB_LISTS:
                self._apply_lists(result.value if isinstance(result.value, JobListsResult) else None)
            elif isinstance(result.value, RecycleBin):
                self._recycle_bin = result.value
                self._drop_deleted(result.value.jobs)
        of_jobs = [(job, result) for result in done if (job := self._job_of(result.timer))]
        highest = {job.id: job.latest.highest if job.latest else 0 for job, _ in of_jobs}
        self._commits.keep_first_watched()
        committed, broken = self._commits.fold_and_commit(of_jobs, self.now_ms())
        done = [
            TaskResult(result.timer, error=broken[result.timer]) if result.timer in broken else result
            for result in done
        ]
        for result in done:
            note_end(result)
        refusal = everything_refused(self._planner.timers(), self.watched)
        self._telemetry.everything_refused(refusal is not None)
        self._log.everything_refused(refusal)
        for result in done:
            if job := self._job_of(result.timer):
                self._note_job(job, result, highest[job.id])
            else:
                self._note(result)
        self._readiness.judge(refuses_everything=refusal is not None)
        self._want_stages({result.job_id for result in done} | committed)
        if (waiting := self._readiness.news()) is not None:
            self._log.progress(waiting, self.watched)
        self._log.clock_compared(self._service.clock.trusted)
        trusted = self._planner.lists_are_trusted(self._monotonic())
        self._telemetry.lists_trusted.set(trusted)
        if trusted:
            self._log.lists_serve()
        everything = any(result.task in (JOB_LISTS, RECYCLE_BIN) for result in done)
        self._publish(None if everything else {result.job_id for result in done} | committed)

    def _carry_over(self, before: "Poller", same_service: bool) -> frozenset[str]:
        """Keep what was known of the jobs that are still watched; the tasks that were answered and go on."""
        tasks = self._planner.carry_over(before._planner, same_service=same_service)
        self._zero_hold.carry_over(before._zero_hold, self._states)
        for job_id in self._states.keys() & before._states.keys():
            job, previous = self._states[job_id], before._states[job_id]
            job.up = previous.up
            job.watched_at, job.watch_kept = previous.watched_at, previous.watch_kept
            buckets = self._rules.buckets
            if previous.ahead and previous.ledger and job.ledger == previous.ledger.with_buckets(buckets):
                job.ahead = previous.ahead.with_buckets(buckets)
        self._commits.leaving = {
            job_id: one for job_id, one in before.leaving.items() if job_id not in self._states
        }
        self._recycle_bin = before._recycle_bin if self._planner.reads_recycle_bin else None
        return before._readiness.answered(tasks)

    def _job_of(self, timer: Timer) -> JobState | None:
        """The watched job of a task; None where it is for none, or its job was removed meanwhile."""
        job = self._states.get(job_of(timer.task))
        return job if job and timer in (job.poll, job.stages.timer) else None

    def _work(self, timer: Timer, now: float) -> Work:
        if timer.task == JOB_LISTS:
            return Work(
                timer,
                lists=self._planner.lists_to_read(now),
                own_lists=self._planner.own_lists(now),
                unnamed=self._planner.unnamed_projects(now),
            )
        job = self._job_of(timer)
        if job is None:
            return Work(timer)
        if is_of_stages(timer.task):
            return Work(timer, job.ledger, failures_count=self._stages.failures_count(job))
        return Work(
            timer,
            job.latest,
            job.lists.confirmed_ms,
            goes_on=job.goes_on,
            denied=frozenset(n for n, at in job.denied_at.items() if now - at >= SECOND_TRY_S),
            watched_at=job.watched_at,
        )

    def _ask(self, work: Work) -> Observations | StagesFetched | RecycleBin | JobListsResult:
        if work.task == RECYCLE_BIN:
            return replace(self._service.recycle_bin(), read_ms=self.now_ms())
        if work.task == JOB_LISTS:
            began = self._wall()
            return read_lists(
                self._service, work, self.watched, lambda: service_ms(began, self._service.clock.trusted)
            )
        if is_of_stages(work.task):
            return ask_stages(work.ledger, self._service, failures_count=work.failures_count)
        return with_settled_clock(lambda: self._observe(work), self.now_ms, self._service.clock)

    def _observe(self, work: Work) -> Observations:
        began, waited_ms = self._wall(), self._waited_ms(work.watched_at)
        return observe_job(
            work,
            self._service,
            lambda: service_ms(began, self._service.clock.trusted),
            self._rules,
            waited_ms,
        )

    def _apply_lists(self, read: JobListsResult | None) -> None:
        """Follow what the lists show."""
        now = self._monotonic()
        at_ms = read.read_ms if read else self.now_ms()
        self._planner.clamp_timestamps(at_ms)
        self._readiness.lists_read(read)
        if read:
            came, went = self._planner.learn(read, now)
            self._watch(came, went, self.now_ms() - read.read_ms)
            self._log.lists_asked(read.refused, [listing.project_id for listing in read.listings])
            for listing in read.listings:
                self._log.projects_shown(self._watchlist.shown(listing))
        changes = self._planner.apply_lists(read, now)
        for job_id in changes.never_built:
            job = self._states[job_id]
            since_ms = self.now_ms() - self._waited_ms(job.watched_at)
            folded = baseline((), at_ms=at_ms, buckets=self._rules.buckets, since_ms=since_ms)
            job.ahead = folded.ledger
        for job_id, build in changes.running.items():
            job = self._states[job_id]
            job.ahead = job.latest and apply_history(job.latest, [build], at_ms=at_ms).ledger
        for job in self._states.values():
            if (ledger := job.latest) and (ledger.gone or ledger.names != self._watchlist.names(job.id)):
                job.ahead = ledger

    def _want_stages(self, job_ids: Iterable[str]) -> None:
        """Builds of those jobs may wait for their stages."""
        for job_id in job_ids if self._rules.policy.stages else ():
            job = self._states.get(job_id)
            if job and job.ledger and job.ledger.stages.awaited:
                self._stages.want(job, self._monotonic())

    def _drop_deleted(self, deleted: Iterable[str]) -> None:
        self._watch((), self._planner.drop_deleted(deleted))

    def _waited_ms(self, watched_at: float | None) -> int:
        """How long ago a job was first watched, in milliseconds; callable on any thread."""
        if watched_at is None:
            return 0
        return min(round((self._monotonic() - watched_at) * 1000), LONGEST_WAIT_MS)

    def _watch_from_now(self, jobs: Iterable[JobState], ago_ms: int = 0) -> None:
        """Those of the jobs that have no ledger are watched from now on, or since ``ago_ms``."""
        at = self._monotonic() - max(0, ago_ms) / 1000
        for job in jobs:
            if job.latest is None and job.watched_at is None:
                job.watched_at, job.watch_kept = at, False

    def _watch(self, came: Collection[JobState], went: Collection[JobState], ago_ms: int = 0) -> None:
        """Load the ledgers of jobs that are watched from now on, and keep those of the others as gone."""
        self._watch_from_now(came, ago_ms)
        for job in came:
            self._commits.leaving.pop(job.id, None)
            job.loaded = False
        for job in went:
            if ledger := job.latest:
                self._commits.leaving[job.id] = ledger.as_removed(self._watchlist.names(job.id))
        self._stages.drop(went)
        self._zero_hold.drop(went)
        self._log.forget([job.id for job in went])
        to_load = {job.id: job for job in self._states.values() if not job.loaded}
        kept = self._commits.load(to_load) if to_load else None
        if kept is None:
            return
        for job_id, job in to_load.items():
            job.loaded, job.ledger = True, kept.get(job_id)
            job.answered = job.ledger is not None
            job.watched_at = None if job.ledger else job.watched_at
        self._want_stages(kept)

    def _note_job(self, job: JobState, result: TaskResult, highest: int) -> None:
        """What the end of a job's task changes besides its ledger: health, and when it is due again.

        Args:
            job: the job.
            result: of a poll or of a step that fetched stages.
            highest: the highest build number that was known before.
        """
        now = self._monotonic()
        if is_of_stages(result.task):
            fetched = result.value if isinstance(result.value, StagesFetched) else None
            self._stages.ended(job, now, fetched)
            if fetched:
                self._log.stages_fetched(result.timer, fetched)
            return
        seen = result.value if isinstance(result.value, Observations) else None
        error = seen.error if seen else result.error
        is_refused = isinstance(error, NotVisibleError | RejectedError)
        job.up = error is None
        if is_refused:
            self._readiness.refused(job)
        newest = seen.newest if seen else None
        found = newest if newest and newest.number > highest else None
        job.goes_on = False
        if seen is None or error:
            self._planner.poll_failed(job, now, refused=is_refused)
        elif seen.more and job.ahead is None:  # what cannot be committed is no reason to ask for more
            job.goes_on = True
            self._planner.poll_again(job, now)
        elif self._planner.poll_succeeded(
            job, now, found=found is not None, found_ms=found.start_ms if found else None
        ):
            self._log.lists_lied(job.id)
        if seen and seen.doubted:
            self._planner.poll_soon(job, now + SECOND_TRY_S)
        if seen:
            job.denied_at = {number: job.denied_at.get(number, now) for number in seen.doubted}
        self._note_answer(result.timer, error)

    def _note(self, result: TaskResult) -> None:
        """What the end of a task changes that is for no watched job."""
        if result.task == RECYCLE_BIN:
            self._planner.recycle_bin_read(self._monotonic())
        elif result.task != JOB_LISTS:
            (self._stages if is_of_stages(result.task) else self._planner).discard(result.timer)
            return
        elif isinstance(result.value, JobListsResult) and not result.value.was_answered:
            return
        self._note_answer(result.timer, result.error)

    def _note_answer(self, timer: Timer, error: Exception | None) -> None:
        if error is None or isinstance(error, NotVisibleError | RejectedError):
            self._stages.poll_answered()
        if error is None:
            self._log.succeeded(timer)
        elif isinstance(error, ApiError):
            self._log.failed(timer, error)

    def _publish(self, changed: Iterable[str] | None = None) -> None:
        """Swap the view for one that shows those jobs as they are now, or all."""
        watchlist = self._watchlist
        self._telemetry.watched_jobs.set(watchlist.size)
        if changed is None or watchlist.jobs is not self._jobs:
            self._jobs = watchlist.jobs
            self._views = {job.id: self._view(job) for job in self._jobs}
            self._projects = watchlist.project_names
        else:
            for job_id in changed:
                if job_id in self._views:
                    self._views[job_id] = self._view(self._views[job_id].job)
        self.view = FleetView(
            jobs=tuple(self._views.values()),
            recycle_bin=self._recycle_bin if self._shows_fleet else None,
            projects=self._projects,
            is_complete=self.is_ready,
        )

    def _view(self, job: Job) -> JobView:
        state = self._states[job.id]
        ledger, confirmed_ms = state.ledger, state.lists.confirmed_ms
        return JobView(
            job=job,
            ledger=ledger,
            up=(True if confirmed_ms else None) if state.up is None else state.up,
            deleted=None if self._recycle_bin is None else job.id in self._recycle_bin.jobs,
            checked_ms=max(ledger.polled_ms, confirmed_ms or 0) if ledger else None,
            held=state.zero_hold,
        )
