"""What to do next: which tasks are due, and when the others will be. Pure: chance comes from a given source.

Where job lists serve, a job is polled when they show a change and, by itself, once in a long while. Where
they do not, it is polled each interval while it builds, and ever more rarely while it is quiet. Times are
monotonic seconds given by the caller. Belongs to the coordinator thread.
"""

import random
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Final

from exporter.model import Build, ListedJob
from exporter.poller.job_lists import ListTrust, age, see_listing, settle_changes
from exporter.poller.job_state import JobState
from exporter.poller.schedule import JITTER, SPREAD, Intervals, Schedule, sooner
from exporter.poller.tasks import JOB_LISTS, RECYCLE_BIN, JobListsResult, Timer
from exporter.poller.watchlist import Watchlist

PATIENCE: Final = 8
"""So often a job is polled again, ever more rarely, because a list shows what history does not yet."""


@dataclass(frozen=True, slots=True)
class JobListChanges:
    """What a reading of the lists means for the ledgers.

    Attributes:
        never_built: watched, without a ledger, and certain to have no builds: they need no poll.
        running: builds that the lists show to be under way, by job.
    """

    never_built: frozenset[str]
    running: dict[str, Build]


class PollPlanner:
    """Decides when each watched job is polled, and when job lists and recycle bin are read.

    Args:
        watchlist: the jobs that are watched.
        intervals: how long things wait.
        now: the present.
        rng: the source of chance.
    """

    def __init__(
        self, watchlist: Watchlist, intervals: Intervals, now: float, rng: random.Random | None = None
    ) -> None:
        self.watchlist = watchlist
        self.intervals = intervals
        self.rng = rng or random.Random()
        self._lists = ListTrust(intervals.interval)
        self._schedule = Schedule()
        self._fleet_timers = {JOB_LISTS: Timer(JOB_LISTS)}
        self._ask_names_at = now
        self._schedule.put(self._fleet_timers[JOB_LISTS], now)
        self.reads_recycle_bin = intervals.recycle is not None
        if self.reads_recycle_bin:
            self._fleet_timers[RECYCLE_BIN] = Timer(RECYCLE_BIN)
            self._schedule.put(self._fleet_timers[RECYCLE_BIN], now)

    def carry_over(self, before: "PollPlanner", *, same_service: bool) -> frozenset[str]:
        """Keep what lists have confirmed of the jobs that are still watched.

        Of the same service, also what else is known of lists, and when things are due, as far as their
        intervals are the same. Other projects or new jobs make the lists due at once.

        Returns:
            The tasks that are due as they were.
        """
        jobs, known = self.watchlist.states, before.watchlist.states
        intervals, earlier = self.intervals, before.intervals
        tasks: set[str] = set()
        if same_service and intervals.recycle == earlier.recycle:
            tasks.add(RECYCLE_BIN)
        same_polls = same_service and replace(intervals, recycle=earlier.recycle) == earlier
        for job_id in jobs.keys() & known.keys():
            job, previous = jobs[job_id], known[job_id]
            job.lists.confirmed_ms = previous.lists.confirmed_ms
            job.poll.keep_log(previous.poll)
            job.stages.timer.keep_log(previous.stages.timer)
            if same_polls:
                job.lists, job.quiet_polls = copy(previous.lists), previous.quiet_polls
                self._put_as_before(job.poll, previous.poll)
        if same_polls:
            self._lists, self._ask_names_at = copy(before._lists), before._ask_names_at
            if jobs.keys() <= known.keys() and self.watchlist.has_projects_of(before.watchlist):
                tasks.add(JOB_LISTS)
        for task in tasks & before._fleet_timers.keys():
            self._put_as_before(self._fleet_timers[task], before._fleet_timers[task])
        kept = {task for task in tasks if task in before._fleet_timers}
        if same_polls:
            kept |= {job_id for job_id in jobs.keys() & known.keys() if known[job_id].poll.is_planned}
        return frozenset(kept)

    def _put_as_before(self, timer: Timer, before: Timer) -> None:
        timer.keep_log(before)
        if before.next_due is not None:
            self._schedule.put(timer, before.next_due)

    def call_back(self) -> None:
        """What is under way comes to nothing, and is due again."""
        self._schedule.call_back()

    def clamp_timestamps(self, at_ms: int) -> None:
        """Clamp timestamps to `at_ms` where the service's clock was ahead when the lists were read."""
        if self._lists.clamp_timestamps(at_ms):
            for job in self.watchlist.states.values():
                job.lists.clamp_timestamps(at_ms)

    def take(self, now: float, limit: int) -> list[Timer]:
        """Up to ``limit`` tasks that are due, the most overdue first."""
        taken = self._schedule.take(now, limit)
        for timer in taken:
            if job := self.watchlist.states.get(timer.task):
                job.mark = job.lists.current_mark
        return taken

    def wait(self, now: float) -> float:
        """Seconds until a task comes due."""
        return self._schedule.wait(now)

    def lag(self, now: float) -> float:
        """How late the most overdue task is, in seconds."""
        return self._schedule.lag(now)

    def timers(self) -> Iterator[Timer]:
        """Of the job lists, the recycle bin, and the polls of all jobs."""
        yield from self._fleet_timers.values()
        yield from (job.poll for job in self.watchlist.states.values())

    def lists_to_read(self, now: float) -> dict[str, int]:
        """Which job lists to read now, by project id or ``""`` for all jobs; and how long they were."""
        watchlist = self.watchlist
        plan = self._lists.plan(watchlist.size, watchlist.projects_of_jobs, watchlist.watched_projects, now)
        return {project_id: self._lists.size(project_id) for project_id in plan}

    def own_lists(self, now: float) -> dict[str, int]:
        """The lists of the watched projects, but for those that are refused; and how long they were."""
        return self._lists.available(self.watchlist.watched_projects, now)

    def unnamed_projects(self, now: float) -> frozenset[str]:
        """The projects whose names to ask for now; those that stay unknown are asked for ever more rarely."""
        unnamed = self.watchlist.unnamed_projects
        if not unnamed or now < self._ask_names_at:
            return frozenset()
        self._ask_names_at = now + self.intervals.longest
        return unnamed

    def lists_are_trusted(self, now: float) -> bool:
        """Whether job lists tell which jobs to poll."""
        return self._lists.serving and self._lists.are_trusted(now)

    def _serve(self, serving: bool, now: float) -> None:
        """Lists serve from now on, or no more: then what they served is polled by itself, spread out."""
        if self._lists.serving and not serving:
            self._hasten(self.watchlist.ids, now)
        self._lists.serving = serving

    def _hasten(self, job_ids: Collection[str], now: float) -> None:
        """No list serves those jobs any more."""
        within = self.intervals.unserved(self.watchlist.size)
        for job_id in job_ids:
            if job := self.watchlist.states.get(job_id):
                self._schedule.hasten(job.poll, now + self.rng.uniform(0, within))

    def learn(self, read: JobListsResult, now: float) -> tuple[list[JobState], list[JobState]]:
        """Take in what lists show; the jobs that are watched from now on, and those no more."""
        before = dict(self.watchlist.states)
        for listing in read.listings:
            self.watchlist.take_in(listing)
            self._lists.was_read(listing)
            self._hasten(see_listing(self.watchlist.states, listing, read.read_ms), now)
        for project_id in read.refused:
            self._lists.was_refused(project_id, now)
        for project_id, size in read.too_large.items():
            self._lists.was_too_large(project_id, size)
        self._hasten(age(self.watchlist.states, self._lists.stale_before_ms(read.read_ms)), now)
        self.watchlist.name_projects(read.project_names)
        return self._changed_since(before)

    def apply_lists(self, read: JobListsResult | None, now: float) -> JobListChanges:
        """Schedule the next reading, the jobs that are new here, and those that the lists show a change of.

        Args:
            read: what was learnt; None where reading failed.
            now: the present.
        """
        self._schedule.done(self._fleet_timers[JOB_LISTS])
        must = self.watchlist.watched_projects
        is_good = self._lists.ended(read, self.lists_to_read(now), must, now)
        plan = self.lists_to_read(now)
        worth_it = bool(must & plan.keys()) or self._lists.are_worth_it(plan, self.watchlist.size)
        is_pressing = worth_it or (not is_good and bool(must))
        delay = self.intervals.interval if is_pressing else self.intervals.longest
        self._put(self._fleet_timers[JOB_LISTS], now, delay)
        trusted = self._lists.are_trusted(now)
        self._serve(worth_it and self._lists.are_recent(now) and trusted, now)
        never_built = self._open(now)
        if not is_good:
            return JobListChanges(frozenset(never_built), {})
        running, to_poll = settle_changes(self.watchlist.states, trusted=self.lists_are_trusted(now))
        for job in to_poll:
            self._schedule.hasten(job.poll, now)
        return JobListChanges(frozenset(never_built), running)

    def polled(self, job: JobState, now: float, *, found: bool, found_ms: int | None) -> bool:
        """A poll succeeded; True if it shows that the lists cannot be trusted.

        Args:
            job: with its new ledger.
            now: the present.
            found: the poll found a build that was not known before.
            found_ms: when the newest such build began, if that is known.
        """
        self.watchlist.polled(job.id, denied=False)
        ledger, listed, mark = job.latest, job.lists.listed, job.mark
        hid = self.lists_are_trusted(now) and self._lists.hid(job, found_ms)
        agreed = listed is None or (ledger is not None and ledger.agrees_with(listed))
        job.lists.polled(mark, agreed=agreed)
        if hid:
            self._lists.distrust(now)
            self._serve(False, now)
        job.quiet_polls = 0 if found else job.quiet_polls + 1
        if self._schedule.done(job.poll):
            self._put(job.poll, now, self._until_next(job, mark))
        return hid

    def not_polled(self, job: JobState, now: float, *, will_not: bool) -> None:
        """A poll failed; one that will go on failing is tried ever more rarely."""
        self.watchlist.polled(job.id, denied=will_not)
        job.quiet_polls += 1
        if self._schedule.done(job.poll):
            unserved = self.intervals.unserved(self.watchlist.size)
            longest = self.intervals.longest if will_not else unserved
            self._put(job.poll, now, self._backed_off(job, longest))

    def poll_again(self, job: JobState, now: float) -> None:
        """A poll ended, and there is more to ask at once."""
        if self._schedule.done(job.poll):
            self._schedule.put(job.poll, now)

    def poll_soon(self, job: JobState, at: float) -> None:
        """A job that waits for its next poll is polled at that time at the latest."""
        self._schedule.hasten(job.poll, at)

    def discard(self, timer: Timer) -> None:
        """A poll ended of a job that is not watched any more."""
        self._schedule.done(timer)

    def recycle_bin_read(self, now: float) -> None:
        """The recycle bin was read, or could not be."""
        if timer := self._fleet_timers.get(RECYCLE_BIN):
            self._schedule.done(timer)
            self._put(timer, now, self.intervals.recycle or 0.0)

    def drop_deleted(self, deleted: Iterable[str]) -> list[JobState]:
        """Discovered jobs that lie in the recycle bin are watched no more; which those were."""
        before = dict(self.watchlist.states)
        self.watchlist.drop_deleted(deleted)
        return self._changed_since(before)[1]

    def _changed_since(self, before: Mapping[str, JobState]) -> tuple[list[JobState], list[JobState]]:
        """The jobs that are watched now and were not, and those that are not any more."""
        after = self.watchlist.states
        removed = [job for job_id, job in before.items() if job_id not in after]
        for job in removed:
            self._schedule.remove(job.poll)
        return [job for job_id, job in after.items() if job_id not in before], removed

    def _open(self, now: float) -> set[str]:
        """Schedule the jobs that are not yet, those that built last first; which of them have never built."""
        never_built: set[str] = set()
        to_poll: list[tuple[int, str]] = []
        for job in self.watchlist.states.values():
            if not job.loaded:
                continue
            listed, ledger = job.lists.listed, job.latest
            is_new = ledger is None and listed is not None and listed.never_built
            if job.poll.is_planned and (not is_new or job.poll.is_under_way):
                continue
            if listed and (listed.never_built if ledger is None else ledger.agrees_with(listed)):
                if ledger is None:
                    never_built.add(job.id)
                job.lists.polled(listed.mark)
                job.lists.confirm()
                self._schedule.put(job.poll, now + self.rng.uniform(0, self._settled()))
            else:
                to_poll.append((-(listed.last_build_ms or 0) if listed else 1, job.id))
        for _, job_id in sorted(to_poll):
            self._schedule.put(self.watchlist.states[job_id].poll, now)
        return never_built

    def _put(self, timer: Timer, now: float, delay: float) -> None:
        """A task is due so long after it began last; what was missed meanwhile is not made up for."""
        began = now if timer.started is None else timer.started
        timer.started = None
        self._schedule.put(timer, max(now, began + delay))

    def _until_next(self, job: JobState, mark: object) -> float:
        """Seconds from a poll that succeeded to the next, where nothing hastens it.

        Args:
            job: that was polled, with its new ledger.
            mark: how it was listed when the poll began.
        """
        ledger = job.latest
        listed = job.lists.listed if self._lists.serving else None
        disagrees = listed is not None and ledger is not None and not ledger.agrees_with(listed)
        if listed and listed.mark != mark and disagrees:
            return 0.0
        if ledger and (lively := ledger.open.keys() - ledger.stuck):
            shown = {listed.number} if listed and listed.is_finished is False else set()
            if shown == lively:
                return sooner(min(self._settled(), self.intervals.longest), JITTER, self.rng)
            return sooner(self.intervals.interval, JITTER, self.rng)
        quiet = self._until_next_of_quiet(job, listed, disagrees=disagrees)
        if ledger is None or ledger.stuck_rest_until_ms is None:
            return quiet
        rest = (ledger.stuck_rest_until_ms - ledger.polled_ms) / 1000
        return min(quiet, max(rest, self.intervals.longest))

    def _until_next_of_quiet(self, job: JobState, listed: ListedJob | None, *, disagrees: bool) -> float:
        """The same for a job that does not build, as far as is known."""
        ledger = job.latest
        if disagrees and job.quiet_polls < PATIENCE:
            return self._backed_off(job, self.intervals.longest)
        if listed and ledger and not ledger.gaps:
            return sooner(self._settled(), SPREAD, self.rng)
        return self._backed_off(job, self.intervals.unserved(self.watchlist.size))

    def _settled(self) -> float:
        """How long a job waits that is known to be quiet."""
        jobs = self.watchlist.size
        return self.intervals.by_itself(jobs) if self._lists.serving else self.intervals.unserved(jobs)

    def _backed_off(self, job: JobState, longest: float) -> float:
        delay = min(longest, self.intervals.interval * (1 << max(0, min(job.quiet_polls, 20))))
        return sooner(delay, JITTER, self.rng)
