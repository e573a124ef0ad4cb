"""The schedule of polls, job lists and recycle bin. Pure: a replay gives the same plan.

Where job lists cover a job, it is polled when they show a change, and otherwise only now and then. Where they
do not, it is polled every interval while it builds, and with growing intervals while it is quiet. Times are
monotonic seconds given by the caller, and randomness comes from a given source. The planner belongs to the
coordinator thread.
"""

import math
import random
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from typing import Final

from exporter.ledger.job_list_evidence import is_guessed
from exporter.model import Build, BuildDetail, ListedJob
from exporter.poller.configured_intervals import Intervals
from exporter.poller.hints import MIN_PAUSE_S, Hint
from exporter.poller.job_list_changes import (
    JobListChanges,
    apply_listing,
    compare_with_ledgers,
    expire_listed,
)
from exporter.poller.job_list_trust import ListTrust
from exporter.poller.job_state import JobState
from exporter.poller.poll_delays import PollDelays
from exporter.poller.tasks_and_results import (
    JOB_LISTS,
    RECYCLE_BIN,
    JobListsResult,
    PlannedPoll,
    PollReason,
    Timer,
    Work,
)
from exporter.poller.timer_queue import Schedule
from exporter.poller.watchlist import Watchlist

LATE_SHARE: Final = 5
"""While polls are late, reading the job lists takes at most one of so many seconds."""


class PollPlanner:
    """Decides when each watched job is polled, and when job lists and recycle bin are read.

    Args:
        watchlist: holds the state of each watched job.
        intervals: polling intervals.
        now: monotonic seconds.
        rng: source of jitter.

    Attributes:
        schedule: of the polls, the job lists and the recycle bin.
    """

    def __init__(self, watchlist: Watchlist, intervals: Intervals, now: float, rng: random.Random) -> None:
        self.watchlist = watchlist
        self.intervals = intervals
        self.rng = rng
        self._lists = ListTrust(intervals.interval)
        self.schedule = Schedule()
        self._ask_names_at = now
        self.reads_recycle_bin = intervals.recycle is not None
        tasks = (JOB_LISTS, RECYCLE_BIN) if self.reads_recycle_bin else (JOB_LISTS,)
        self._fleet_timers = {task: Timer(task) for task in tasks}
        for timer in self._fleet_timers.values():
            self.schedule.put(timer, now)

    @property
    def _delays(self) -> PollDelays:
        return PollDelays(self.intervals, self.watchlist.size, self._lists.in_use, self.rng)

    def carry_over(self, before: "PollPlanner", *, same_service: bool) -> frozenset[str]:
        """Keep health and hints of the jobs that are still watched, and what lists have confirmed of them.

        For the same service, also keep the state of the lists, and due times as far as the intervals are the
        same. Other projects or new jobs make the lists due at once.

        Returns:
            The tasks that keep their due times.
        """
        jobs, known = self.watchlist.states, before.watchlist.states
        intervals, earlier = self.intervals, before.intervals
        same_polls = same_service and replace(intervals, recycle=earlier.recycle) == earlier
        kept: set[str] = set()
        for job_id, job in jobs.items():
            if not (previous := known.get(job_id)):
                continue
            job.up, job.failure = previous.up, previous.failure
            job.lists.confirmed_ms = previous.lists.confirmed_ms
            job.poll.keep_log(previous.poll)
            job.stages.timer.keep_log(previous.stages.timer)
            job.hint, job.polled_at = previous.hint, previous.polled_at
            if same_polls:
                job.lists, job.verify_at = copy(previous.lists), previous.verify_at
                job.quiet_polls, job.answered_polls = previous.quiet_polls, previous.answered_polls
                self._put_as_before(job.poll, previous.poll)
                if previous.poll.is_planned:
                    kept.add(job_id)
        if same_polls:
            self._lists, self._ask_names_at = copy(before._lists), before._ask_names_at
        same_lists = jobs.keys() <= known.keys() and self.watchlist.has_projects_of(before.watchlist)
        fleet = {
            JOB_LISTS: same_polls and same_lists,
            RECYCLE_BIN: same_service and intervals.recycle == earlier.recycle is not None,
        }
        for task in (task for task, is_same in fleet.items() if is_same):
            self._put_as_before(self._fleet_timers[task], before._fleet_timers[task])
            kept.add(task)
        return frozenset(kept)

    def _put_as_before(self, timer: Timer, before: Timer) -> None:
        timer.keep_log(before)
        due = before.was_due if before.due is None else before.due
        if due is not None:
            self.schedule.put(timer, due, before.reason)

    def clamp_timestamps(self, at_ms: int) -> None:
        """Clamp timestamps to `at_ms` if the service clock was ahead when the lists were read."""
        if self._lists.clamp_timestamps(at_ms):
            for job in self.watchlist.states.values():
                job.lists.clamp_timestamps(at_ms)

    def take(self, now: float, limit: int) -> list[Timer]:
        """Take up to `limit` due tasks, as `Schedule.take` orders them; at 0, those of the fleet."""
        if not limit:
            return self.schedule.take_of(self._fleet_timers.values(), now)
        taken = self.schedule.take(now, limit)
        for timer in taken:
            if job := self.watchlist.states.get(timer.task):
                job.mark_at_poll, job.polled_at = job.lists.current_mark, now
                job.listed_first = self._listed_first(job, now)
        return taken

    def hint(self, job_ids: Iterable[str], now: float, now_ms: int) -> None:
        """Poll jobs at once that are said to have news, and often until their builds have ended."""
        for job_id in job_ids:
            if job := self.watchlist.states.get(job_id):
                job.hint = Hint.of(job.latest, now, now_ms)
                self.schedule.hasten(job.poll, max(now, job.polled_at + MIN_PAUSE_S), PollReason.HINTED)

    def _listed_first(self, job: JobState, now: float) -> ListedJob | None:
        """Return what the lists show, if a poll may begin with record-info and do without history.

        It may after a change, or to confirm a guessed number, until it is time to verify the lists.
        """
        listed, ledger = job.lists.listed, job.latest
        if listed is None or ledger is None or job.hint or now >= job.verify_at:
            return None
        is_new = job.lists.has_changed or is_guessed(ledger, listed)
        return listed if is_new and self.lists_are_trusted(now) else None

    def next_poll(self, job_id: str, now: float) -> PlannedPoll | None:
        """Return when and why a job is polled next; None if it is not planned. On any thread."""
        job = self.watchlist.states.get(job_id)
        due, reason = (job.poll.due, job.poll.reason) if job else (None, None)
        return PlannedPoll(None if due is None else max(0.0, due - now), reason) if reason else None

    def lists_to_read(self, now: float) -> dict[str, int]:
        """Job lists to read now and their last sizes, by project id; `""` stands for all jobs."""
        watchlist = self.watchlist
        plan = self._lists.plan(watchlist.size, watchlist.projects_of_jobs, watchlist.watched_projects, now)
        return {project_id: self._lists.size(project_id) for project_id in plan}

    def own_lists(self, now: float) -> dict[str, int]:
        """Lists of the watched projects that are not refused, and their last sizes."""
        return self._lists.available(self.watchlist.watched_projects, now)

    def lists_work(self, timer: Timer, now: float) -> Work:
        """Return the task of reading the job lists."""
        lists, own_lists = self.lists_to_read(now), self.own_lists(now)
        return Work(timer, lists=lists, own_lists=own_lists, unnamed=self.unnamed_projects(now))

    def unnamed_projects(self, now: float) -> frozenset[str]:
        """Take the projects whose names to request now; not again before the longest interval has passed."""
        unnamed = self.watchlist.unnamed_projects
        if not unnamed or now < self._ask_names_at:
            return frozenset()
        self._ask_names_at = now + self.intervals.longest
        return unnamed

    def lists_are_trusted(self, now: float) -> bool:
        """Return whether job lists decide which jobs to poll."""
        return self._lists.in_use and self._lists.are_trusted(now)

    def _use_lists(self, in_use: bool, now: float) -> None:
        """Switch the use of lists on or off; when off, poll the jobs that they covered, spread out."""
        if self._lists.in_use and not in_use:
            self._hasten(self.watchlist.states, now)
        self._lists.in_use = in_use

    def _hasten(self, job_ids: Iterable[str], now: float) -> None:
        """Poll jobs that no list covers any more within their new interval."""
        within = self.intervals.without_lists(self.watchlist.size)
        for job_id in job_ids:
            if job := self.watchlist.states.get(job_id):
                self.schedule.hasten(job.poll, now + self.rng.uniform(0, within), PollReason.UNLISTED)

    def learn(self, read: JobListsResult, now: float) -> tuple[list[JobState], list[JobState]]:
        """Update watchlist and list state from a read; return the jobs watched from now on, and no longer."""
        before = dict(self.watchlist.states)
        for listing in read.listings:
            self.watchlist.apply_listing(listing)
            self._lists.was_read(listing)
            self._hasten(apply_listing(self.watchlist.states, listing, read.read_ms), now)
        for project_id in read.refused:
            self._lists.was_refused(project_id, now)
        for project_id, size in read.too_large.items():
            self._lists.was_too_large(project_id, size)
        stale_before_ms = self._lists.stale_before_ms(read.read_ms)
        self._hasten(expire_listed(self.watchlist.states, stale_before_ms), now)
        self.watchlist.name_projects(read.project_names)
        return self._changed_since(before)

    def apply_lists(self, read: JobListsResult | None, now: float) -> JobListChanges:
        """Schedule the next read, new jobs, and the jobs that the lists show a change of.

        The result was given to `learn` before; it is None if the read failed.
        """
        timer = self._fleet_timers[JOB_LISTS]
        self.schedule.done(timer)
        must = self.watchlist.watched_projects
        is_good = self._lists.ended(read, self.lists_to_read(now), must, now)
        plan = self.lists_to_read(now)
        worth_it = bool(must & plan.keys()) or self._lists.are_worth_it(plan, self.watchlist.size)
        is_pressing = worth_it or (not is_good and bool(must))
        delay = self.intervals.interval if is_pressing else self.intervals.longest
        if timer.started is not None and self.schedule.lag(now) > delay:
            share = LATE_SHARE * (now - timer.started)
            delay = max(delay, min(share, self.intervals.longest))
        self._put(timer, now, delay)
        trusted = self._lists.are_trusted(now)
        self._use_lists(worth_it and self._lists.are_recent(now) and trusted, now)
        never_built = self._schedule_new_jobs(now)
        running: dict[str, Build] = {}
        if is_good:
            trusted = self.lists_are_trusted(now)
            running, to_poll = compare_with_ledgers(self.watchlist.states, trusted=trusted)
            for job in to_poll:
                self.schedule.hasten(job.poll, now, PollReason.CHANGED)
            for job_id in running:
                job = self.watchlist.states[job_id]
                is_guess = job.lists.listed is not None and job.lists.listed.number is None
                due = now + self._delays.until_running_is_checked(is_guess=is_guess)
                self.schedule.hasten(job.poll, due, PollReason.LISTED_AS_RUNNING)
        return JobListChanges(frozenset(never_built), running)

    def poll_succeeded(
        self, job: JobState, now: float, found: Build | BuildDetail | None, *, verified: bool = True
    ) -> bool:
        """Schedule the poll after a successful one; True if it shows that the lists cannot be trusted.

        Args:
            job: with its new ledger.
            now: the present.
            found: the newest build that no earlier poll has found, if there is one.
            verified: the poll read history, which verifies the lists.
        """
        self.watchlist.polled(job.id, denied=False)
        ledger, listed, mark = job.latest, job.lists.listed, job.mark_at_poll
        hid = self.lists_are_trusted(now) and self._lists.hid(job, found.start_ms if found else None)
        agreed = listed is None or (ledger is not None and ledger.agrees_with(listed))
        has_news = found is not None or mark not in (None, job.lists.polled_mark)
        job.lists.polled(mark, agreed=agreed)
        if hid:
            self._lists.distrust(now)
            self._use_lists(False, now)
        job.quiet_polls = 0 if has_news else job.quiet_polls + 1
        job.answered_polls = 0 if has_news else job.answered_polls + 1
        if verified:
            job.verify_at = now + self._delays.quiet_interval
        hinted = self._delays.until_next_of_hint(job, now)
        if self.schedule.done(job.poll):
            delay = min(self._delays.until_next(job, mark), (hinted, PollReason.HINTED))
            self._put(job.poll, now, *delay)
            self.schedule.hasten(job.poll, max(now, job.verify_at), PollReason.VERIFIED)
        return hid

    def poll_failed(self, job: JobState, now: float, *, refused: bool) -> None:
        """Schedule the poll after a failed one; refused jobs are polled least often."""
        self.watchlist.polled(job.id, denied=refused)
        job.quiet_polls += 1
        if refused:
            job.hint = None
        hinted = max(MIN_PAUSE_S, job.polled_at - job.hint.at) if job.hint else math.inf
        if self.schedule.done(job.poll):
            intervals = self.intervals
            longest = intervals.longest if refused else intervals.without_lists(self.watchlist.size)
            reason = PollReason.REFUSED if refused else PollReason.FAILED
            delay = min((self._delays.backed_off(job, longest), reason), (hinted, PollReason.HINTED))
            self._put(job.poll, now, *delay)

    def poll_again(self, job: JobState, now: float) -> None:
        """Schedule the next poll at once, since the last left details to request."""
        if self.schedule.done(job.poll):
            self.schedule.put(job.poll, now, PollReason.MORE_DETAILS)

    def recycle_bin_read(self, now: float) -> None:
        """Schedule the next read of the recycle bin, after one that succeeded or failed."""
        if timer := self._fleet_timers.get(RECYCLE_BIN):
            self.schedule.done(timer)
            self._put(timer, now, self.intervals.recycle or 0.0)

    def drop_deleted(self, deleted: Iterable[str]) -> list[JobState]:
        """Stop watching discovered jobs that are in the recycle bin; return them."""
        before = dict(self.watchlist.states)
        self.watchlist.drop_deleted(deleted)
        return self._changed_since(before)[1]

    def _changed_since(self, before: Mapping[str, JobState]) -> tuple[list[JobState], list[JobState]]:
        """Return the jobs that were added and removed; unschedule those removed."""
        after = self.watchlist.states
        removed = [job for job_id, job in before.items() if after.get(job_id) is not job]
        for job in removed:
            self.schedule.remove(job.poll)
        return [job for job_id, job in after.items() if before.get(job_id) is not job], removed

    def _schedule_new_jobs(self, now: float) -> set[str]:
        """Schedule jobs that are not scheduled, the latest build first; return those without builds."""
        never_built: set[str] = set()
        to_poll: list[tuple[int, str]] = []
        for job in self.watchlist.states.values():
            if not job.loaded:
                continue
            listed, ledger = job.lists.listed, job.latest
            is_new = ledger is None and listed is not None and listed.never_built
            if job.poll.is_planned and (not is_new or job.poll.is_under_way):
                continue
            if listed and (is_new if ledger is None else ledger.agrees_with(listed)):
                if is_new:
                    never_built.add(job.id)
                job.lists.polled(listed.mark)
                job.lists.confirm()
                job.verify_at = now + self.rng.uniform(0, self._delays.quiet_interval)
                self.schedule.put(job.poll, job.verify_at, PollReason.VERIFIED)
            else:
                to_poll.append((-(listed.last_build_ms or 0) if listed else 1, job.id))
        for _, job_id in sorted(to_poll):
            self.schedule.put(self.watchlist.states[job_id].poll, now, PollReason.FIRST)
        return never_built

    def _put(self, timer: Timer, now: float, delay: float, reason: PollReason | None = None) -> None:
        """Schedule a task `delay` after its last start; missed runs are not made up for."""
        started = now if timer.started is None else timer.started
        timer.started = None
        self.schedule.put(timer, max(now, started + delay), reason)
