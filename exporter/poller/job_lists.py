"""Which job lists to read, what they show of the watched jobs, and how far they are trusted; pure.

Lists are trusted for speed, never for truth. A job that they serve is polled when they show a change, and by
itself only now and then; if such a poll finds what they had not shown, they are not trusted for a while.
Times are monotonic seconds given by the caller.
"""

from collections.abc import Collection
from typing import Final

from exporter.model import Build
from exporter.poller.job_state import UNSEEN_AFTER, JobState, JobStates
from exporter.poller.tasks import ALL, PAGE, JobListsResult, Listing

REFUSED_FOR: Final = 60
"""Intervals until a list that was refused is asked for again."""

NAMES_WORTH: Final = 10
"""So many requests are worth the names of jobs, now and then, even where polls are cheaper."""

STALE_AFTER: Final = 3
"""Lists serve until so many intervals after they were last read."""

FIRST_DOUBT: Final = 60
LONGEST_DOUBT: Final = 1440
"""Intervals that lists are not trusted after they hid a build; doubled each time."""


class ListTrust:
    """What is known of the lists themselves: how long they are, which are refused, whether they are trusted.

    Args:
        interval: seconds between two readings of the lists.

    Attributes:
        read_ms: when a list with jobs was last read, by the service's clock.
        serving: lists tell which jobs to poll, as long as they are also `trusted`.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._sizes: dict[str, int] = {}
        self._refused_until: dict[str, float] = {}
        self._cut: set[str] = set()  # lists that are too long to be read to their end
        self._doubt_until = 0.0
        self._doubt = FIRST_DOUBT * interval
        self._was_read = False
        self._failures = 0
        self._read_at = float("-inf")
        self.read_ms: int | None = None
        self.serving = False

    def plan(
        self, watched: int, projects: Collection[str], must: Collection[str], now: float
    ) -> tuple[str, ...]:
        """Which lists to read next: the cheapest that show all watched jobs.

        None where even the cheapest takes more requests than `NAMES_WORTH` and than polls would.

        Args:
            watched: how many jobs are watched.
            projects: the ids of the projects they belong to; `ALL` among them if one is not known.
            must: the projects whose lists are needed anyway, to discover jobs.
            now: the present.
        """
        of_projects = {project for project in {*projects, *must} if project}
        available = {project for project in of_projects if not self._is_refused(project, now)}
        if not self._was_read:
            return (ALL,)
        choices: list[tuple[int, tuple[str, ...]]] = []
        if not self._is_refused(ALL, now):
            choices.append((self._pages(ALL), (ALL,)))
        if ALL not in projects and available == of_projects:
            choices.append((sum(map(self._pages, of_projects)), tuple(sorted(of_projects))))
        needed = tuple(sorted(available.intersection(must)))
        cost, best = min(choices, default=(0, needed))
        return best if needed or cost <= max(watched, NAMES_WORTH) else ()

    def are_worth_it(self, plan: Collection[str], watched: int) -> bool:
        """Whether reading those lists takes fewer requests than polling each job."""
        return bool(plan) and sum(map(self._pages, plan)) < watched

    def available(self, project_ids: Collection[str], now: float) -> dict[str, int]:
        """Those of these lists that are not refused, in order, and how long they were."""
        return {one: self.size(one) for one in sorted(project_ids) if not self._is_refused(one, now)}

    def size(self, project_id: str) -> int:
        """How long a list was when it was last read; 0 where it never was."""
        return self._sizes.get(project_id, 0)

    def was_read(self, listing: Listing) -> None:
        """A list was read."""
        self._was_read = True
        self._refused_until.pop(listing.project_id, None)
        if listing.is_whole:
            self._cut.discard(listing.project_id)
        if listing.is_whole and listing.jobs:
            self._sizes[listing.project_id] = len(listing.jobs)

    def was_refused(self, project_id: str, now: float) -> None:
        """A list is refused to these credentials; it is asked for again much later."""
        self._was_read = True
        self._refused_until[project_id] = now + REFUSED_FOR * self._interval

    def was_too_large(self, project_id: str, size: int) -> None:
        """A list was not read to its end, since it is so long."""
        self._was_read = True
        self._sizes[project_id] = size
        self._cut.add(project_id)

    def ended(
        self, read: JobListsResult | None, plan: Collection[str], must: Collection[str], now: float
    ) -> bool:
        """A reading of the lists ended; whether it brought a list with jobs.

        Lists that fail several times in a row are treated as refused: others may serve instead.

        Args:
            read: what it brought; None where it failed.
            plan: the lists that were to be read.
            must: the projects whose lists are needed to discover jobs.
            now: the present.
        """
        self._failures = 0 if read else self._failures + 1
        if self._failures >= STALE_AFTER:
            self._failures = 0
            self._give_up(plan, must, now)
        is_good = read is not None and any(listing.jobs for listing in read.listings)
        if read and is_good:
            self.read_ms, self._read_at = read.read_ms, now
        return is_good

    def _give_up(self, plan: Collection[str], must: Collection[str], now: float) -> None:
        """Where no other list may serve, the ones that are needed are asked on."""
        needed = () if self.available((ALL,), now) and ALL not in self._cut else must
        for project_id in set(plan).difference(needed):
            self.was_refused(project_id, now)

    def are_recent(self, now: float) -> bool:
        """Whether a list with jobs was read lately."""
        return now - self._read_at <= STALE_AFTER * self._interval

    def distrust(self, now: float) -> None:
        """Do not trust lists for a while; longer each time."""
        self._doubt_until = now + self._doubt
        self._doubt = min(2 * self._doubt, LONGEST_DOUBT * self._interval)

    def are_trusted(self, now: float) -> bool:
        """Whether lists may tell which jobs to poll."""
        return now >= self._doubt_until

    def hid(self, job: JobState, began_ms: int | None) -> bool:
        """Whether lists should have shown a build that a poll has found, and did not.

        Args:
            job: whose build it is.
            began_ms: when the build began, by the service's clock; None where that is not known.
        """
        silent_until_ms = job.lists.silent_until_ms
        if began_ms is None or silent_until_ms is None:
            return False
        return began_ms + (2 * self._interval + 5) * 1000 < silent_until_ms

    def stale_before_ms(self, read_ms: int) -> float:
        """Lists do not serve a job that none has shown since then."""
        return read_ms - STALE_AFTER * self._interval * 1000

    def clamp_timestamps(self, at_ms: int) -> bool:
        """Clamp timestamps to `at_ms` after the service's clock was corrected; whether that was necessary."""
        is_ahead = self.read_ms is not None and self.read_ms > at_ms
        if is_ahead:
            self.read_ms = at_ms
        return is_ahead

    def _is_refused(self, project_id: str, now: float) -> bool:
        return now < self._refused_until.get(project_id, 0.0)

    def _pages(self, project_id: str) -> int:
        return max(1, -(-self.size(project_id) // PAGE))


def see_listing(jobs: JobStates, listing: Listing, read_ms: int) -> set[str]:
    """Note what a list shows of the watched jobs; those that lists have served and do not any more."""
    for job_id in listing.jobs.keys() & jobs.keys():
        jobs[job_id].lists.see(listing.jobs[job_id], read_ms)
    unserved: set[str] = set()
    for job_id, job in jobs.items():
        shown = job.lists.last_shown
        if shown is not None and listing.lacks(job_id, shown.names.project_id):
            job.lists.misses += 1
            if job.lists.misses == UNSEEN_AFTER:
                unserved.add(job_id)
    return unserved


def age(jobs: JobStates, before_ms: float) -> set[str]:
    """Stop relying on what no list has shown since then; the jobs that lists serve no more."""
    aged = {
        job.id
        for job in jobs.values()
        if job.lists.listed and job.lists.seen_ms is not None and job.lists.seen_ms < before_ms
    }
    for job_id in aged:
        jobs[job_id].lists.misses = UNSEEN_AFTER
    return aged


def changed(jobs: JobStates) -> list[JobState]:
    """The jobs that lists show otherwise than when they were polled, the latest build first."""
    found = [job for job in jobs.values() if job.lists.has_changed]

    def latest(job: JobState) -> int:
        return (job.lists.listed and job.lists.listed.last_build_ms) or 0

    return sorted(found, key=latest, reverse=True)


def settle_changes(jobs: JobStates, *, trusted: bool) -> tuple[dict[str, Build], list[JobState]]:
    """Compare the lists with the ledgers.

    Returns:
        The builds that lists show to be under way, by job, and the jobs to poll now.
    """
    running: dict[str, Build] = {}
    to_poll: list[JobState] = []
    found = changed(jobs)
    for job in found:
        listed, ledger = job.lists.listed, job.latest
        if listed is None or ledger is None or job.poll.is_under_way:
            continue
        build = ledger.next_running(listed) if trusted else None
        if build:
            running[job.id] = build
        if build or ledger.agrees_with(listed):
            job.lists.polled(listed.mark)
            job.lists.confirm()
        elif trusted:
            to_poll.append(job)
    if trusted:
        different = {job.id for job in found}
        for job in jobs.values():
            if job.id not in different and job.lists.listed is not None:
                job.lists.confirm()
    return running, to_poll
