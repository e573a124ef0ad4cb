"""What to do next: which jobs are watched, which of them deserve a poll now, and when the others do.

Where job lists serve, a job is polled when they show a change and, by itself, once in a long while. Where
they do not, it is polled each interval while it builds, and ever more rarely while it is quiet. No I/O; times
are monotonic seconds given by the caller. Belongs to one thread.
"""

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from exporter.ledger import JobLedger
from exporter.model import Build, ListedJob
from exporter.poller.intervals import JITTER, SPREAD, Intervals, sooner
from exporter.poller.lists import STALE_AFTER, JobLists
from exporter.poller.schedule import Schedule
from exporter.poller.stages import StageSteps
from exporter.poller.swept import News, Swept
from exporter.watchlist import Watchlist

JOB_LISTS: Final = "job-lists"
RECYCLE_BIN: Final = "recycle-bin"
"""Tasks that are no job; job ids are 32 characters."""

PATIENCE: Final = 8
"""So often a job is polled again, ever more rarely, because a list shows what history does not yet."""


class Agenda:
    """Watchlist, lists and schedule, and the rules that bind them.

    Args:
        watchlist: the jobs that are watched.
        intervals: how long things wait.
        now: the present.
        concurrency: tasks that may be under way at once.
    """

    def __init__(
        self, watchlist: Watchlist, intervals: Intervals, now: float, *, concurrency: int = 1
    ) -> None:
        self.watchlist = watchlist
        self.stages = StageSteps(intervals.interval, concurrency)
        self._intervals = intervals
        self._lists = JobLists(intervals.interval)
        self._schedule = Schedule()
        self._quiet: dict[str, int] = {}
        self._begun: dict[str, float] = {}
        self._marks: dict[str, object] = {}
        self._assured_ms: dict[str, int] = {}
        self._read_ms: int | None = None
        self._read_at = float("-inf")
        self._ask_names_at = now
        self._failed_sweeps = 0
        self._served = False
        self._schedule.put(JOB_LISTS, now)
        self.reads_recycle_bin = intervals.recycle is not None
        if self.reads_recycle_bin:
            self._schedule.put(RECYCLE_BIN, now)

    def go_on_from(self, before: "Agenda", *, same_service: bool) -> frozenset[str]:
        """Keep what lists have assured of the jobs that are still watched.

        Of the same service, also what else is known of lists, and when things are due, as far as their
        intervals are the same. Other projects or new jobs make the lists due at once.

        Returns:
            The tasks that are due as they were.
        """
        watched, known = self.watchlist.ids, before.watchlist.ids
        intervals, earlier = self._intervals, before._intervals
        self._assured_ms = {job_id: ms for job_id, ms in before._assured_ms.items() if job_id in watched}
        tasks: set[str] = set()
        if same_service and intervals.recycle == earlier.recycle:
            tasks.add(RECYCLE_BIN)
        if same_service and replace(intervals, recycle=earlier.recycle) == earlier:
            self._lists, self._ask_names_at = before._lists, before._ask_names_at
            self._served, self._failed_sweeps = before._served, before._failed_sweeps
            self._read_ms, self._read_at = before._read_ms, before._read_at
            self._lists.forget(known - watched)
            self._quiet = {job_id: polls for job_id, polls in before._quiet.items() if job_id in watched}
            tasks |= watched & known
            if watched <= known and self.watchlist.has_projects_of(before.watchlist):
                tasks.add(JOB_LISTS)
        return self._schedule.go_on_from(before._schedule, tasks)

    def call_back(self) -> None:
        """What is under way comes to nothing, and is due again."""
        self._schedule.call_back()
        self.stages.call_back()

    def set_back(self, at_ms: int) -> None:
        """It is earlier than the lists were read: the service's clock was ahead, and is right again."""
        if self._read_ms is not None and self._read_ms > at_ms:
            self._read_ms = at_ms
            self._assured_ms = {job_id: min(ms, at_ms) for job_id, ms in self._assured_ms.items()}
            self._lists.set_back(at_ms)

    def take(self, now: float, limit: int) -> list[str]:
        """Up to ``limit`` tasks that are due, the most overdue first; stages when nothing else is."""
        tasks = self._schedule.take(now, limit)
        for task in tasks:
            self._begun[task] = now
            self._marks[task] = self._lists.mark(task)
        return tasks + self.stages.take(now, limit - len(tasks))

    def wait(self, now: float) -> float:
        """Seconds until a task comes due."""
        return min(self._schedule.wait(now), self.stages.wait(now))

    def lag(self, now: float) -> float:
        """How late the most overdue task is, in seconds; stages are never late."""
        return self._schedule.lag(now)

    def assured_ms(self, job_id: str) -> int | None:
        """When a list last showed that nothing is new with a job; None where none did."""
        return self._assured_ms.get(job_id)

    def lists_to_read(self, now: float) -> dict[str, int]:
        """Which job lists to read now, by project id or ``""`` for all jobs; and how long they were."""
        watchlist = self.watchlist
        plan = self._lists.plan(watchlist.size, watchlist.projects_of_jobs, watchlist.watched_projects, now)
        return {project_id: self._lists.size(project_id) for project_id in plan}

    def own_lists(self, now: float) -> dict[str, int]:
        """The lists of the watched projects, but for those that are refused; and how long they were."""
        return self._lists.to_be_had(self.watchlist.watched_projects, now)

    def unnamed_projects(self, now: float) -> frozenset[str]:
        """The projects whose names to ask for now; not at every sweep those that are not told."""
        unnamed = self.watchlist.unnamed_projects
        if not unnamed or now < self._ask_names_at:
            return frozenset()
        self._ask_names_at = now + self._intervals.longest
        return unnamed

    def lists_are_believed(self, now: float) -> bool:
        """Whether job lists tell which jobs to poll."""
        return self._served and self._lists.are_believed(now)

    def _serve(self, served: bool, now: float) -> None:
        """Lists serve from now on, or no more: then what they served is polled by itself, spread out."""
        if self._served and not served:
            self._hasten(self.watchlist.ids, now)
        self._served = served

    def _hasten(self, job_ids: Collection[str], now: float) -> None:
        """No list serves those jobs any more."""
        within = self._intervals.unserved(self.watchlist.size)
        for job_id in job_ids:
            self._schedule.hasten(job_id, now + random.uniform(0, within))

    def learn(self, swept: Swept, now: float) -> tuple[frozenset[str], frozenset[str]]:
        """Take in what lists show; the jobs that are watched from now on, and those no more."""
        before = self.watchlist.ids
        for listing in swept.listings:
            self.watchlist.take_in(listing)
            self._hasten(self._lists.take_in(listing, self.watchlist.ids, swept.read_ms), now)
        for project_id in swept.refused:
            self._lists.refused(project_id, now)
        for project_id, size in swept.too_large.items():
            self._lists.too_large(project_id, size)
        self._hasten(self._lists.age(swept.read_ms), now)
        self.watchlist.name_projects(swept.project_names)
        after = self.watchlist.ids
        self.drop(before - after)
        return after - before, before - after

    def follow(
        self,
        swept: Swept | None,
        ledgers: Mapping[str, JobLedger],
        now: float,
        *,
        unready: Collection[str] = (),
    ) -> News:
        """Schedule the next sweep, the jobs that are new here, and those that the lists show a change of.

        Args:
            swept: what was learnt; None where the sweep failed.
            ledgers: as committed.
            now: the present.
            unready: jobs that must not be polled yet.
        """
        self._schedule.done(JOB_LISTS)
        self._give_up_lists(swept, now)
        is_good = swept is not None and any(listing.jobs for listing in swept.listings)
        if swept and is_good:
            self._read_ms, self._read_at = swept.read_ms, now
        plan = self.lists_to_read(now)
        discovers = bool(self.watchlist.watched_projects & plan.keys())
        worth_it = discovers or self._lists.are_worth_it(plan, self.watchlist.size)
        is_pressing = worth_it or (not is_good and bool(self.watchlist.watched_projects))
        self._put(JOB_LISTS, now, self._intervals.interval if is_pressing else self._intervals.longest)
        recent = now - self._read_at <= STALE_AFTER * self._intervals.interval
        self._serve(worth_it and recent and self._lists.are_believed(now), now)
        never_built = self._open(ledgers, now, unready)
        return News(frozenset(never_built), self._changed(ledgers, now) if is_good else {})

    def _give_up_lists(self, swept: Swept | None, now: float) -> None:
        """Lists that fail several times in a row are as good as refused: others may do."""
        self._failed_sweeps = 0 if swept else self._failed_sweeps + 1
        if self._failed_sweeps >= STALE_AFTER:
            self._failed_sweeps = 0
            self._lists.give_up(self.lists_to_read(now), self.watchlist.watched_projects, now)

    def polled(
        self, job_id: str, ledger: JobLedger, now: float, *, found: bool, found_ms: int | None
    ) -> bool:
        """A poll succeeded; True if it shows that the lists cannot be believed."""
        self.watchlist.polled(job_id, denied=False)
        lied = self.lists_are_believed(now) and self._lists.were_silent_on(job_id, found_ms)
        mark = self._marks.pop(job_id, None)
        listed = self._lists.shown(job_id)
        self._lists.polled(job_id, mark, agreed=listed is None or ledger.agrees_with(listed))
        if lied:
            self._lists.lied(now)
            self._serve(False, now)
        self._quiet[job_id] = 0 if found else self._quiet.get(job_id, -1) + 1
        if self._schedule.done(job_id):
            self._put(job_id, now, self._until_next(job_id, ledger, mark))
        return lied

    def not_polled(self, job_id: str, now: float, *, will_not: bool) -> None:
        """A poll failed; one that will go on failing is tried ever more rarely."""
        self.watchlist.polled(job_id, denied=will_not)
        self._marks.pop(job_id, None)
        self._quiet[job_id] = self._quiet.get(job_id, -1) + 1
        if self._schedule.done(job_id):
            unserved = self._intervals.unserved(self.watchlist.size)
            longest = self._intervals.longest if will_not else unserved
            self._put(job_id, now, self._backed_off(job_id, longest))

    def poll_again(self, job_id: str, now: float) -> None:
        """A poll ended, and there is more to ask at once."""
        if self._schedule.done(job_id):
            self._schedule.put(job_id, now)

    def poll_soon(self, job_id: str, at: float) -> None:
        """A job that waits for its next poll is polled at that time at the latest."""
        self._schedule.hasten(job_id, at)

    def polled_in_vain(self, job_id: str) -> None:
        """A poll ended of a job that is not watched any more."""
        self._schedule.done(job_id)

    def recycle_bin_read(self, now: float) -> None:
        """The recycle bin was read, or could not be."""
        self._schedule.done(RECYCLE_BIN)
        if self._intervals.recycle is not None:
            self._put(RECYCLE_BIN, now, self._intervals.recycle)

    def drop_deleted(self, deleted: Iterable[str]) -> set[str]:
        """Discovered jobs that lie in the recycle bin are watched no more; which those were."""
        went = self.watchlist.drop_deleted(deleted)
        self.drop(went)
        return went

    def drop(self, job_ids: Collection[str]) -> None:
        """Those jobs are not watched any more."""
        self._lists.forget(job_ids)
        self.stages.drop(job_ids)
        for job_id in job_ids:
            self._schedule.remove(job_id)
            self._quiet.pop(job_id, None)
            self._begun.pop(job_id, None)
            self._marks.pop(job_id, None)
            self._assured_ms.pop(job_id, None)

    def _open(self, ledgers: Mapping[str, JobLedger], now: float, unready: Collection[str]) -> set[str]:
        """Schedule the jobs that are not yet, those that built last first; which of them have never built."""
        never_built: set[str] = set()
        to_poll: list[tuple[int, str]] = []
        for job_id in self.watchlist.ids.difference(unready):
            listed, ledger = self._lists.shown(job_id), ledgers.get(job_id)
            is_new = ledger is None and listed is not None and listed.never_built
            if job_id in self._schedule and (not is_new or self._schedule.is_under_way(job_id)):
                continue
            if listed and (listed.never_built if ledger is None else ledger.agrees_with(listed)):
                if ledger is None:
                    never_built.add(job_id)
                self._lists.polled(job_id, listed.mark)
                self._assure(job_id)
                self._schedule.put(job_id, now + random.uniform(0, self._settled()))
            else:
                to_poll.append((-(listed.last_build_ms or 0) if listed else 1, job_id))
        for _, job_id in sorted(to_poll):
            self._schedule.put(job_id, now)
        return never_built

    def _changed(self, ledgers: Mapping[str, JobLedger], now: float) -> dict[str, Build]:
        """See to the jobs that lists show a change of; the builds they show to be under way."""
        running: dict[str, Build] = {}
        believed = self.lists_are_believed(now)
        changed = self._lists.changed(self.watchlist.ids)
        for job_id in changed:
            listed, ledger = self._lists.shown(job_id), ledgers.get(job_id)
            if listed is None or ledger is None or self._schedule.is_under_way(job_id):
                continue
            build = ledger.next_running(listed) if believed else None
            if build:
                running[job_id] = build
            if build or ledger.agrees_with(listed):
                self._lists.polled(job_id, listed.mark)
                self._assure(job_id)
            elif believed:
                self._schedule.hasten(job_id, now)
        for job_id in self.watchlist.ids.difference(changed) if believed else ():
            if self._lists.shown(job_id) is not None:
                self._assure(job_id)
        return running

    def _assure(self, job_id: str) -> None:
        if (seen_ms := self._lists.seen_ms(job_id)) is not None:
            self._assured_ms[job_id] = seen_ms

    def _put(self, task: str, now: float, delay: float) -> None:
        """A task is due so long after it began last; what was missed meanwhile is not made up for."""
        self._schedule.put(task, max(now, self._begun.pop(task, now) + delay))

    def _until_next(self, job_id: str, ledger: JobLedger, mark: object) -> float:
        """Seconds from a poll that succeeded to the next, where nothing hastens it.

        Args:
            job_id: the job that was polled.
            ledger: what came of it.
            mark: how the job was listed when the poll began.
        """
        listed = self._lists.shown(job_id) if self._served else None
        disagrees = listed is not None and not ledger.agrees_with(listed)
        if listed and listed.mark != mark and disagrees:
            return 0.0
        if lively := ledger.open.keys() - ledger.stuck:
            shown = {listed.number} if listed and listed.is_finished is False else set()
            if shown == lively:
                return sooner(min(self._settled(), self._intervals.longest), JITTER)
            return sooner(self._intervals.interval, JITTER)
        quiet = self._until_next_of_quiet(job_id, ledger, listed, disagrees=disagrees)
        if ledger.stuck_rest_until_ms is None:
            return quiet
        rest = (ledger.stuck_rest_until_ms - ledger.polled_ms) / 1000
        return min(quiet, max(rest, self._intervals.longest))

    def _until_next_of_quiet(
        self, job_id: str, ledger: JobLedger, listed: ListedJob | None, *, disagrees: bool
    ) -> float:
        """The same for a job that does not build, as far as is known."""
        if disagrees and self._quiet[job_id] < PATIENCE:
            return self._backed_off(job_id, self._intervals.longest)
        if listed and not ledger.gaps:
            return sooner(self._settled(), SPREAD)
        return self._backed_off(job_id, self._intervals.unserved(self.watchlist.size))

    def _settled(self) -> float:
        """How long a job waits that is known to be quiet."""
        jobs = self.watchlist.size
        return self._intervals.by_itself(jobs) if self._served else self._intervals.unserved(jobs)

    def _backed_off(self, job_id: str, longest: float) -> float:
        return sooner(min(longest, self._intervals.interval * (1 << min(self._quiet[job_id], 20))), JITTER)
