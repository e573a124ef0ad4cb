"""The coordinator's steps: take what is due, fold the results, commit, then publish.

`take`, `settle` and everything they touch belong to one thread. `run` may be called on any thread: it reads a
ledger and returns observations. `workers.PollingThreads` drives the poller; a test drives it by hand.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from exporter.errors import ApiError, ExporterError, RefusalError
from exporter.ledger.job_ledger import JobLedger
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import RecycleBin
from exporter.poller.first_watched import FirstWatched
from exporter.poller.health_and_next_poll import poll_ended
from exporter.poller.job_state import JobState, Rules
from exporter.poller.ledger_commits import LedgerCommits
from exporter.poller.planner import PollPlanner
from exporter.poller.project_totals import ProjectTotals
from exporter.poller.readiness import Readiness, Refusals
from exporter.poller.stage_schedule import StageSchedule
from exporter.poller.state_change_log import StateChangeLog
from exporter.poller.task_requests import Service, perform
from exporter.poller.tasks_and_results import (
    JOB_LISTS,
    RECYCLE_BIN,
    JobListsResult,
    StagesFetched,
    TaskResult,
    Timer,
    Work,
    is_stages_task,
    job_id_of,
)
from exporter.poller.view_builder import Views
from exporter.poller.zero_hold import ZeroHold
from exporter.store import Store


class Poller:
    """Keeps the ledgers of the watched jobs up to date and publishes them.

    Args:
        planner: decides what is due; its watchlist holds the state of each job.
        service: the API.
        store: ledgers are committed here before they are published.
        ledgers: of the watched jobs and totals of projects, from the store.
        rules: from the configuration.
        shard: index of this process; the first one publishes what concerns no single job.
        has_room: whether more series may be published.
        concurrency: maximum number of tasks under way.
        telemetry: the exporter's own metrics.
        before: the stopped poller that this one replaces.
        same_service: `before` used the same API with the same credentials.
        wall: seconds since the epoch.
        monotonic: seconds that no setting of a clock changes.

    Attributes:
        commits: the ledgers and the store.
        view: all that is published.
    """

    def __init__(
        self,
        planner: PollPlanner,
        service: Service,
        store: Store,
        ledgers: Mapping[str, JobLedger],
        rules: Rules,
        *,
        shard: int = 0,
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
        self._states = planner.watchlist.states
        self._service = service
        self._rules = rules
        self._telemetry = telemetry
        self._monotonic = monotonic
        self._log: StateChangeLog = before._log if before else StateChangeLog()
        self._stages = StageSchedule(
            planner.intervals.interval,
            concurrency,
            planner.rng,
            lambda: self._service.wait_s("full-stages"),
        )
        self._zero_hold = ZeroHold(rules.policy)
        self._refusals = Refusals()
        totals = ProjectTotals(shard, rules.buckets, ledgers, self.now_ms) if rules.policy.lean else None
        self._views = Views(self._watchlist, totals, shows_fleet=shard == 0)
        self.commits = LedgerCommits(
            self._watchlist,
            store,
            FirstWatched(store, service.clock),
            rules,
            self._zero_hold,
            telemetry,
            self._log,
            has_room,
            wall,
            monotonic,
            totals,
        )
        for job in self._states.values():
            job.ledger = ledgers.get(job.id)
        answered = self._carry_over(before, same_service) if before else frozenset()
        refused = self._watchlist.watched_projects - planner.own_lists(monotonic()).keys()
        self._readiness = Readiness(self._watchlist, answered, refused)
        if before and (recycle_bin := self._views.recycle_bin):
            self._drop_deleted(recycle_bin.jobs.keys() - before._watchlist.discovered)
        self.commits.watch(self._states.values())
        self.commits.keep_first_watched()
        self._want_stages(self._states)
        self._publish()

    @property
    def is_ready(self) -> bool:
        """Every job, of watched projects too, has a ledger, or the API has refused it."""
        return self._readiness.is_ready

    @property
    def ledgers(self) -> Mapping[str, JobLedger]:
        """Ledgers of the watched jobs, as committed."""
        return self.commits.ledgers

    @property
    def watched(self) -> int:
        """Number of watched jobs."""
        return self._watchlist.size

    def now_ms(self) -> int:
        """Current time by the service's clock if it is trusted, else by ours."""
        return self._service.clock.service_ms()

    def take(self, limit: int, hinted: Iterable[str] = ()) -> list[Work]:
        """Take up to `limit` due tasks in the order of `Schedule.take`; stages if nothing else is due.

        At a limit of 0, these are the due tasks that have threads of their own.

        Jobs that are `hinted` to have news become due. Labels whose time at 0 is over are published.
        """
        now = self._monotonic()
        self._planner.hint(hinted, now, self.now_ms())
        self.commits.restore_in_time()
        if released := self._zero_hold.release(now):
            self._publish(released)
        self._telemetry.poll_lag.set(self._planner.schedule.lag(now))
        timers = self._planner.take(now, limit)
        timers += self._stages.take(now, max(0, limit - len(timers)))
        return [self._work(timer, now) for timer in timers]

    def resume(self, service: Service) -> None:
        """Continue with another connection after a stop; what was under way is due again."""
        self._service = service
        self._planner.schedule.requeue()
        self._stages.schedule.requeue()

    def wait(self) -> float:
        """Return the seconds until a task is due, or a label is released."""
        now = self._monotonic()
        return min(self._planner.schedule.wait(now), self._stages.wait(now), self._zero_hold.wait(now))

    def run(self, work: Work) -> TaskResult:
        """Run a task on any thread. An exception in one task touches no other."""
        try:
            waited_ms = self.commits.waited_ms
            value = perform(work, self._service, self._rules, self.watched, waited_ms)
            return TaskResult(work.timer, value)
        except Exception as error:
            if not isinstance(error, ExporterError):
                self._log.unexpected_error(work.timer)
            return TaskResult(work.timer, error=error)

    def settle(self, results: Iterable[TaskResult]) -> None:
        """Fold the results of tasks, commit, publish, and schedule what comes next."""
        done = list(results)
        self.commits.keep_first_watched()
        for result in done:
            if result.task == JOB_LISTS:
                self._apply_lists(result.value if isinstance(result.value, JobListsResult) else None)
            elif isinstance(result.value, RecycleBin):
                self._views.recycle_bin = result.value
                self._drop_deleted(result.value.jobs)
        of_jobs = [(job, result) for result in done if (job := self._job_of(result.timer))]
        highest = {job.id: job.latest.highest if job.latest else 0 for job, _ in of_jobs}
        self.commits.keep_first_watched()
        committed, broken = self.commits.fold_and_commit(of_jobs, self.now_ms())
        done = [broken.get(result.timer, result) for result in done]
        refuses_everything = self._judge_refusals(done)
        for result in done:
            if not (job := self._job_of(result.timer)):
                self._note_other(result)
            elif is_stages_task(result.task):
                fetched = result.value if isinstance(result.value, StagesFetched) else None
                self._stages.ended(job, self._monotonic(), fetched)
                if fetched:
                    self._log.stages_fetched(result.timer, fetched)
            else:
                self._note_poll(job, result, highest[job.id])
        self._readiness.answered(committed)
        self._readiness.judge(refuses_everything=refuses_everything)
        changed = {result.job_id for result in done} | committed
        self._want_stages(changed)
        self._report_state()
        everything = any(result.task in (JOB_LISTS, RECYCLE_BIN) for result in done)
        self._publish(None if everything else changed)

    def _judge_refusals(self, done: Iterable[TaskResult]) -> bool:
        """Return whether the API refuses everything."""
        for result in done:
            if result.task in (JOB_LISTS, RECYCLE_BIN) or self._job_of(result.timer):
                self._refusals.ended(result)
        refusal = self._refusals.of_everything(self.watched)
        self._telemetry.everything_refused(str(refusal) if refusal else None)
        self._log.everything_refused(refusal)
        return refusal is not None

    def _report_state(self) -> None:
        if (waiting := self._readiness.progress()) is not None:
            self._log.progress(waiting, self.watched)
        self._log.clock_compared(self._service.clock.trusted)
        self._log.sources_used(self._service.sources)
        trusted = self._planner.lists_are_trusted(self._monotonic())
        self._telemetry.lists_trusted.set(trusted)
        if trusted:
            self._log.lists_trusted()

    def _carry_over(self, before: "Poller", same_service: bool) -> frozenset[str]:
        """Keep the state of jobs that are still watched; return the completed tasks that keep due times."""
        tasks = self._planner.carry_over(before._planner, same_service=same_service)
        totals = self.commits.totals
        self._zero_hold.carry_over(before._zero_hold, {**self._states, **(totals.states if totals else {})})
        self.commits.carry_over(before.commits)
        self._service.sources.forget(before._states.keys() - self._states.keys())
        self._views.recycle_bin = before._views.recycle_bin if self._planner.reads_recycle_bin else None
        return before._readiness.answered_of(tasks)

    def _job_of(self, timer: Timer) -> JobState | None:
        """Return the watched job of a task; None if it has none, or the job was removed meanwhile."""
        job = self._states.get(job_id_of(timer.task))
        return job if job and timer in (job.poll, job.stages.timer) else None

    def _work(self, timer: Timer, now: float) -> Work:
        if timer.task == JOB_LISTS:
            return self._planner.lists_work(timer, now)
        job = self._job_of(timer)
        if job is None:
            return Work(timer)
        if is_stages_task(timer.task):
            return Work(timer, job.ledger, count_failures=self._stages.failures_count(job))
        return job.poll_work(now)

    def _apply_lists(self, read: JobListsResult | None) -> None:
        """Apply a read of the job lists to watchlist, ledgers and schedule; None if it failed."""
        now = self._monotonic()
        at_ms = read.read_ms if read else self.now_ms()
        self._planner.clamp_timestamps(at_ms)
        self._readiness.lists_read(read)
        if read:
            added, removed = self._planner.learn(read, now)
            self._watch(added, removed, self.now_ms() - read.read_ms)
            self._log.lists_read(read.refused, [listing.project_id for listing in read.listings])
            for listing in read.listings:
                self._log.projects_listed(self._watchlist.listed_projects(listing))
        self.commits.apply_lists(self._planner.apply_lists(read, now), at_ms, self.now_ms())

    def _want_stages(self, job_ids: Iterable[str]) -> None:
        """Schedule steps for those of the jobs whose builds wait for their stages."""
        for job_id in job_ids if self._rules.policy.stages else ():
            job = self._states.get(job_id)
            if job and job.ledger and job.ledger.stages.awaited:
                self._stages.want(job, self._monotonic())

    def _drop_deleted(self, deleted: Iterable[str]) -> None:
        self._watch((), self._planner.drop_deleted(deleted))

    def _watch(self, added: Collection[JobState], removed: Collection[JobState], ago_ms: int = 0) -> None:
        """Load the ledgers of jobs that are watched from now on, and drop others."""
        removed_ids = [job.id for job in removed]
        self._log.watched_jobs_changed(len(added), len(removed), self.watched)
        self.commits.drop(removed)
        self._stages.drop(removed)
        self._zero_hold.drop(removed)
        self._refusals.forget(removed_ids)
        self._service.sources.forget(removed_ids)
        self._log.forget(removed_ids)
        self._readiness.answered(removed_ids)
        self._readiness.wait_for(job.id for job in added)
        self.commits.watch(added, ago_ms)
        for job in added:
            job.loaded = False
        loaded = self.commits.load()
        self._readiness.answered(loaded)
        self._want_stages(loaded)

    def _note_poll(self, job: JobState, result: TaskResult, highest: int) -> None:
        """Update state and schedule of a job after a poll, given the highest build known before it."""
        if isinstance(result.failure, RefusalError):
            self._readiness.refused(job.id)
        patience_ms = self._rules.patience_ms
        if poll_ended(
            job, result, self._planner, self._monotonic(), highest=highest, patience_ms=patience_ms
        ):
            self._log.lists_distrusted(job.id)
        self._note_answer(result.timer, result.failure)

    def _note_other(self, result: TaskResult) -> None:
        """Schedule what follows a task that is for no watched job."""
        if result.task == RECYCLE_BIN:
            self._planner.recycle_bin_read(self._monotonic())
        elif result.task != JOB_LISTS:
            (self._stages if is_stages_task(result.task) else self._planner).schedule.done(result.timer)
            return
        elif isinstance(result.value, JobListsResult) and not result.value.was_answered:
            return
        self._note_answer(result.timer, result.error)

    def _note_answer(self, timer: Timer, error: Exception | None) -> None:
        if error is None or isinstance(error, RefusalError):
            self._stages.poll_answered()
        if error is None:
            self._log.succeeded(timer)
        elif isinstance(error, ApiError):
            self._log.failed(timer, error)

    def _publish(self, changed: Iterable[str] | None = None) -> None:
        """Replace the view, with those jobs as they are now, or all."""
        self._telemetry.watched_jobs.set(self.watched)
        self.view = self._views.build(changed, is_complete=self.is_ready)
