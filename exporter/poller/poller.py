"""The poller: take what is due, do it, commit what it brought, then publish.

`take`, `settle` and everything they touch belong to one thread; `run` may be called on any, and reads its
work and what only a stop exchanges. `threads.PollingThreads` drives it; a test drives it by hand.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial

from exporter.catalogue import FleetView, JobView
from exporter.errors import ApiError, ExporterError, NotVisibleError, RejectedError
from exporter.ledger import JobLedger, baseline, see_history
from exporter.model import Job, JobNames, RecycleBin
from exporter.poller.agenda import JOB_LISTS, RECYCLE_BIN, Agenda
from exporter.poller.clock import at_settled_time, service_ms
from exporter.poller.commits import Commits, FirstWatched
from exporter.poller.details import SECOND_TRY_S, RememberedDetails
from exporter.poller.folding import changed_by, joined
from exporter.poller.newcomers import Newcomers
from exporter.poller.poll import Polled, Rules, poll_job
from exporter.poller.readiness import Readiness
from exporter.poller.refusals import Refusals
from exporter.poller.service import Service
from exporter.poller.stages import Told, ask_stages, is_of_stages, job_of
from exporter.poller.sweep import sweep
from exporter.poller.swept import Swept
from exporter.poller.transitions import Transitions
from exporter.poller.work import Outcome, Work
from exporter.store import Store
from exporter.telemetry import Telemetry


class Poller:
    """Keeps the ledgers of the watched jobs up to date and publishes them.

    Args:
        agenda: knows what is watched and what is due.
        service: is asked.
        store: ledgers are committed here before they are published.
        ledgers: what the store held of the watched jobs.
        rules: from the configuration.
        shows_fleet: whether what concerns no single job is published here.
        has_room: whether more series may be published.
        telemetry: counts what happens.
        before: the one that this one goes on from; it must have stopped.
        same_service: whether ``before`` asked the same service, with the same credentials.
        wall: seconds since the epoch.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        agenda: Agenda,
        service: Service,
        store: Store,
        ledgers: Mapping[str, JobLedger],
        rules: Rules,
        *,
        shows_fleet: bool = True,
        has_room: Callable[[], bool] = lambda: True,
        telemetry: Telemetry,
        before: "Poller | None" = None,
        same_service: bool = False,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agenda = agenda
        self._service = service
        self._rules = rules
        self._telemetry = telemetry
        self._wall = wall
        self._monotonic = monotonic
        self._shows_fleet = shows_fleet
        self._has_room = has_room
        self._api = RememberedDetails(service, monotonic)
        self._transitions: Transitions = before._transitions if before else Transitions()
        self.commits = Commits(store, rules.buckets, telemetry, self._transitions)
        self._refusals = Refusals()
        self._newcomers = Newcomers(rules.breakdown)
        self._ledgers = dict(ledgers)
        self._not_loaded: set[str] = set()
        self._first_watched = FirstWatched(self.commits, wall, monotonic)
        self._up: dict[str, bool] = {}
        self._unfinished: set[str] = set()
        self._recycle_bin: RecycleBin | None = None
        answered = self._go_on_from(before, same_service) if before else frozenset()
        refused = agenda.watchlist.watched_projects - agenda.own_lists(monotonic()).keys()
        self._readiness = Readiness(agenda.watchlist, self._ledgers.keys(), answered, refused)
        if self._recycle_bin and before:
            judged = before._agenda.watchlist.discovered
            self._watch((), self._agenda.drop_deleted(self._recycle_bin.jobs.keys() - judged))
        self._first_watched.add(agenda.watchlist.ids - self._ledgers.keys())
        self._first_watched.keep()
        self._want_stages(self._ledgers)
        self._jobs: tuple[Job, ...] = ()
        self._publish()

    @property
    def is_ready(self) -> bool:
        """Every job, of watched projects too, has a ledger, or the API has said that it is not to be had."""
        return self._readiness.is_ready

    @property
    def ledgers(self) -> Mapping[str, JobLedger]:
        """Of the watched jobs, as committed."""
        return self._ledgers

    @property
    def watched(self) -> int:
        """How many jobs are watched."""
        return self._agenda.watchlist.size

    def now_ms(self) -> int:
        """Now, by the service's clock where it is to be believed, else by ours."""
        return service_ms(self._wall(), self._service.clock.believed)

    def take(self, limit: int) -> list[Work]:
        """Up to ``limit`` tasks that are due, the most overdue first; stages when nothing else is.

        What was held back until now is published.
        """
        now = self._monotonic()
        self.commits.restore(self._ledgers, now)
        if let_go := self._newcomers.let_go(now):
            self._publish(let_go)
        self._telemetry.poll_lag.set(self._agenda.lag(now))
        return [self._work(task) for task in self._agenda.take(now, limit)]

    def resume(self, service: Service) -> None:
        """Go on after a stop: what came to nothing is due again, and is asked through this."""
        self._service, self._api = service, self._api.through(service)
        self._agenda.call_back()

    def finish(self) -> None:
        """Before a stop: leave nothing older in the store than what was shown."""
        self.commits.restore(self._ledgers)

    def wait(self) -> float:
        """Seconds until a task comes due, or something is to be held back no longer."""
        now = self._monotonic()
        return min(self._agenda.wait(now), self._newcomers.wait(now))

    def run(self, work: Work) -> Outcome:
        """Do a task: ask the API and fold what it says. Nothing that happens in one touches another."""
        try:
            return Outcome(work.task, self._ask(work), before=work.ledger)
        except ExporterError as error:
            return Outcome(work.task, error=error)
        except Exception as error:
            self._transitions.bug(work.task)
            return Outcome(work.task, error=error)

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Commit what tasks brought, then publish it, then schedule them anew."""
        done = list(outcomes)
        changed: dict[str, JobLedger] = {}
        for outcome in done:
            brought = outcome.brought
            if outcome.task == JOB_LISTS:
                changed |= self._take_in_sweep(brought if isinstance(brought, Swept) else None)
            elif isinstance(brought, RecycleBin):
                self._recycle_bin = brought
                self._watch((), self._agenda.drop_deleted(brought.jobs))
        watched = self._agenda.watchlist.ids
        done = [joined(outcome, self._ledgers.get(outcome.job_id)) for outcome in done]
        of_jobs = [outcome for outcome in done if outcome.job_id in watched]
        changed |= changed_by(of_jobs, {**self._ledgers, **changed}, self._rules.breakdown)
        for outcome in of_jobs:
            if isinstance(outcome.brought, Polled):
                self._agenda.watchlist.rename(outcome.job_id, JobNames(project_id=outcome.brought.project_id))
        names = self._agenda.watchlist.names
        changed = {job_id: one.called(names(job_id)) for job_id, one in changed.items() if job_id in watched}
        self._first_watched.keep()
        committed = self.commits.commit(changed)
        self._newcomers.see(self._ledgers, committed, self._monotonic())
        self._ledgers.update(committed)
        self._readiness.settled(committed)
        self._first_watched.forget(committed)
        refusal = self._refusals.after(done, self.watched)
        self._telemetry.everything_refused(refusal is not None)
        self._transitions.everything_refused(refusal)
        for outcome in done:
            self._note(outcome, kept=committed.get(outcome.job_id) is changed.get(outcome.job_id))
        self._readiness.judge(refuses_everything=refusal is not None)
        self._want_stages({outcome.job_id for outcome in done} | committed.keys())
        if (waiting := self._readiness.news()) is not None:
            self._transitions.progress(waiting, self.watched)
        self._transitions.clock_compared(self._service.clock.believed)
        trusted = self._agenda.lists_are_believed(self._monotonic())
        self._telemetry.lists_trusted.set(trusted)
        if trusted:
            self._transitions.lists_serve()
        everything = any(outcome.task in (JOB_LISTS, RECYCLE_BIN) for outcome in done)
        self._publish(None if everything else {outcome.job_id for outcome in done})

    def _go_on_from(self, before: "Poller", same_service: bool) -> frozenset[str]:
        """Keep what was known of the jobs that are still watched; what goes on, and has been answered."""
        tasks = self._agenda.go_on_from(before._agenda, same_service=same_service)
        watched = self._agenda.watchlist.ids
        self._newcomers.go_on_from(before._newcomers)
        self._newcomers.drop(before._agenda.watchlist.ids - watched)
        self._up = {job_id: up for job_id, up in before._up.items() if job_id in watched}
        self._first_watched.go_on_from(before._first_watched, watched)
        self.commits.leaving = {
            job_id: one for job_id, one in before.commits.leaving.items() if job_id not in watched
        }
        self._recycle_bin = before._recycle_bin if self._agenda.reads_recycle_bin else None
        if same_service:
            self._api = before._api.through(self._service)
        return before._readiness.answered(tasks)

    def _work(self, task: str) -> Work:
        if task == JOB_LISTS:
            now = self._monotonic()
            return Work(
                task,
                lists=self._agenda.lists_to_read(now),
                own_lists=self._agenda.own_lists(now),
                unnamed=self._agenda.unnamed_projects(now),
            )
        ledger, assured_ms = self._ledgers.get(job_of(task)), self._agenda.assured_ms(task)
        failures_count = self._agenda.stages.failures_count(job_of(task))
        return Work(
            task,
            ledger,
            assured_ms,
            has_room=self._has_room(),
            failures_count=failures_count,
            goes_on=task in self._unfinished,
            watched_at=self._first_watched.at(task),
        )

    def _ask(self, work: Work) -> Polled | Told | RecycleBin | Swept:
        if work.task == RECYCLE_BIN:
            return replace(self._service.recycle_bin(), read_ms=self.now_ms())
        if work.task == JOB_LISTS:
            began = self._wall()
            return sweep(
                self._service, work, self.watched, lambda: service_ms(began, self._service.clock.believed)
            )
        if is_of_stages(work.task):
            return ask_stages(work.ledger, self._api, failures_count=work.failures_count)
        rules = self._rules if work.has_room else self._rules.crowded()

        def poll(_now_ms: int) -> Polled:
            began, waited_ms = self._wall(), self._first_watched.waited_ms(work.watched_at)
            return poll_job(
                work.task,
                work.ledger,
                self._api,
                lambda: service_ms(began, self._service.clock.believed),
                rules,
                assured_ms=work.assured_ms,
                waited_ms=waited_ms,
                goes_on=work.goes_on,
                denial_stands=partial(self._api.denial_stands, work.task),
            )

        return at_settled_time(poll, self.now_ms, self._service.clock)

    def _take_in_sweep(self, swept: Swept | None) -> dict[str, JobLedger]:
        """Follow what the lists show; the ledgers that change by it."""
        now = self._monotonic()
        at_ms = swept.read_ms if swept else self.now_ms()
        self._agenda.set_back(at_ms)
        self._readiness.swept(swept)
        if swept:
            came, went = self._agenda.learn(swept, now)
            self._watch(came, went, self.now_ms() - swept.read_ms)
            self._transitions.lists_asked(swept.refused, [listing.project_id for listing in swept.listings])
            for listing in swept.listings:
                self._transitions.projects_shown(self._agenda.watchlist.shown(listing))
        news = self._agenda.follow(swept, self._ledgers, now, unready=self._not_loaded)
        changed: dict[str, JobLedger] = {}
        for job_id in news.never_built:
            since_ms = self.now_ms() - self._first_watched.waited_ms(self._first_watched.at(job_id))
            folded = baseline((), at_ms=at_ms, buckets=self._rules.buckets, since_ms=since_ms)
            changed[job_id] = folded.ledger
        for job_id, build in news.running.items():
            changed[job_id] = see_history(self._ledgers[job_id], [build], at_ms=at_ms).ledger
        for job_id, ledger in self._ledgers.items():
            if ledger.gone or ledger.names != self._agenda.watchlist.names(job_id):
                changed.setdefault(job_id, ledger)
        return changed

    def _want_stages(self, job_ids: Iterable[str]) -> None:
        """Builds of those jobs may wait for their stages."""
        for job_id in job_ids if self._rules.breakdown.stages else ():
            if job_id in self._ledgers and self._ledgers[job_id].stages.awaited:
                self._agenda.stages.want(job_id, self._monotonic())

    def _watch(self, came: Collection[str], went: Collection[str], ago_ms: int = 0) -> None:
        """Take up the ledgers of jobs that are watched from now on, and lay down those of the others."""
        self._first_watched.add(came, ago_ms)
        for job_id in came:
            self.commits.leaving.pop(job_id, None)
        for job_id in went:
            if ledger := self._ledgers.pop(job_id, None):
                self.commits.leaving[job_id] = ledger.left(self._agenda.watchlist.names(job_id))
            self._up.pop(job_id, None)
        self._readiness.settled(went)
        self._transitions.forget(went)
        self._refusals.forget(went)
        self._newcomers.drop(went)
        self._first_watched.forget(went)
        self._not_loaded = self._not_loaded.union(came) & self._agenda.watchlist.ids
        if not self._not_loaded:
            return
        self._readiness.expect(self._not_loaded)
        kept = self.commits.load(self._not_loaded)
        if kept is None:
            return
        self._ledgers.update(kept)
        self._first_watched.forget(kept)
        self._want_stages(kept)
        self._readiness.settled(kept)
        self._not_loaded = set()

    def _note(self, outcome: Outcome, *, kept: bool) -> None:
        """What a task's end changes besides the ledgers: faults, health, readiness, when it is due again."""
        error = outcome.error
        if is_of_stages(outcome.task):
            self._note_stages(outcome, kept=kept)
            return
        if outcome.task == RECYCLE_BIN:
            self._agenda.recycle_bin_read(self._monotonic())
        elif outcome.task == JOB_LISTS:
            if isinstance(outcome.brought, Swept) and not outcome.brought.was_answered:
                return
        elif outcome.task not in self._agenda.watchlist.ids:
            self._agenda.polled_in_vain(outcome.task)
            return
        else:
            polled = outcome.brought if isinstance(outcome.brought, Polled) else None
            error = polled.error if polled else error
            self._up[outcome.task] = error is None
            if isinstance(error, NotVisibleError | RejectedError):
                self._readiness.refused([outcome.task])
            self._reschedule(outcome.task, polled if kept else None, error)
        if error is None or isinstance(error, NotVisibleError | RejectedError):
            self._agenda.stages.polls_answer()
        if error is None:
            self._transitions.succeeded(outcome.task)
        elif isinstance(error, ApiError):
            self._transitions.failed(outcome.task, error)

    def _note_stages(self, outcome: Outcome, *, kept: bool) -> None:
        """That stages do not come is no trouble of the job."""
        told = outcome.brought if isinstance(outcome.brought, Told) else None
        self._agenda.stages.ended(outcome.job_id, self._monotonic(), told if kept else None)
        if told and outcome.job_id in self._agenda.watchlist.ids:
            self._transitions.stages_asked(outcome.task, told)

    def _reschedule(self, job_id: str, polled: Polled | None, error: Exception | None) -> None:
        now = self._monotonic()
        self._unfinished.discard(job_id)
        if polled:
            self._telemetry.capped_builds.inc(polled.capped)
            for reason in polled.faults:
                self._telemetry.payload_fault("record-info", reason)
        if polled is None or error:
            will_not = isinstance(error, NotVisibleError | RejectedError)
            self._agenda.not_polled(job_id, now, will_not=will_not)
        elif polled.more:
            self._unfinished.add(job_id)
            self._agenda.poll_again(job_id, now)
        elif self._agenda.polled(job_id, polled.ledger, now, found=polled.found, found_ms=polled.found_ms):
            self._transitions.lists_lied(job_id)
        if polled and polled.is_doubtful:
            self._agenda.poll_soon(job_id, now + SECOND_TRY_S)

    def _publish(self, changed: Iterable[str] | None = None) -> None:
        """Swap the view for one that shows those jobs anew, or all."""
        watchlist = self._agenda.watchlist
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
        ledger, assured_ms = self._ledgers.get(job.id), self._agenda.assured_ms(job.id)
        return JobView(
            job=job,
            ledger=ledger,
            up=self._up.get(job.id, True if assured_ms else None),
            deleted=None if self._recycle_bin is None else job.id in self._recycle_bin.jobs,
            checked_ms=max(ledger.polled_ms, assured_ms or 0) if ledger else None,
            held=self._newcomers.of(job.id),
        )
