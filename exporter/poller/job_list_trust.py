"""Trust in job lists, and the choice of those to read; pure.

Lists are trusted for speed, never for truth. A job that they cover is polled when they show a change, and
otherwise only now and then. If such a poll finds a build that the lists had not shown, they are distrusted
for a while. Times are monotonic seconds given by the caller.
"""

from collections.abc import Collection
from typing import Final

from exporter.api.pagination import pages_of
from exporter.ledger.job_list_evidence import begins_as
from exporter.poller.job_state import JobState
from exporter.poller.tasks_and_results import ALL, JobListsResult, Listing

REFUSED_FOR: Final = 60
"""Intervals until a refused list is requested again."""

NAMES_WORTH: Final = 10
"""Requests that job names are worth, even where polling each job would be cheaper than reading lists."""

STALE_AFTER: Final = 3
"""Intervals after which a list that was not read again is stale."""

FIRST_DOUBT: Final = 60

LONGEST_DOUBT: Final = 1440
"""Intervals for which lists are distrusted after they hid a build; doubled each time."""

VERIFIED_AFTER_S: Final = 86_400.0
"""Time in which polls verify the lists of all jobs. Trusted for so long, they are doubted as at first."""


class ListTrust:
    """The state of the lists themselves: their sizes, refusals, and whether they are trusted.

    Args:
        interval: seconds between two reads of the lists.

    Attributes:
        read_ms: when a list with jobs was last read, by the service's clock.
        in_use: lists decide which jobs to poll, as long as they are also trusted.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._sizes: dict[str, int] = {}
        self._refused_until: dict[str, float] = {}
        self._truncated: set[str] = set()  # lists that are too long to be read to their end
        self._distrusted_until = float("-inf")
        self._doubt = 0.0
        self._was_read = False
        self._failures = 0
        self._read_at = float("-inf")
        self.read_ms: int | None = None
        self.in_use = False

    def plan(
        self, watched: int, projects: Collection[str], must: Collection[str], now: float
    ) -> tuple[str, ...]:
        """Choose the lists to read next: the cheapest that show all watched jobs.

        None are read if the cheapest take more requests than both `NAMES_WORTH` and polling each job.

        Args:
            watched: number of watched jobs.
            projects: ids of their projects; with `ALL` if a project is unknown.
            must: projects whose lists are needed anyway, to discover jobs; `ALL` replaces all others.
            now: the present.
        """
        if ALL in must and not self._is_refused(ALL, now):
            return (ALL,)
        candidates = {project for project in {*projects, *must} if project}
        available = {project for project in candidates if not self._is_refused(project, now)}
        if not self._was_read:
            return (ALL,)
        choices: list[tuple[int, tuple[str, ...]]] = []
        if not self._is_refused(ALL, now):
            choices.append((self._pages(ALL), (ALL,)))
        if ALL not in projects and available == candidates:
            choices.append((sum(map(self._pages, candidates)), tuple(sorted(candidates))))
        needed = tuple(sorted(available.intersection(must)))
        cost, cheapest = min(choices, default=(0, needed))
        return cheapest if needed or cost <= max(watched, NAMES_WORTH) else ()

    def are_worth_it(self, plan: Collection[str], watched: int) -> bool:
        """Return whether reading those lists takes fewer requests than polling each job."""
        return bool(plan) and sum(map(self._pages, plan)) < watched

    def available(self, project_ids: Collection[str], now: float) -> dict[str, int]:
        """Sizes of those of these lists that are not refused, by project id in order."""
        return {
            project_id: self.size(project_id)
            for project_id in sorted(project_ids)
            if not self._is_refused(project_id, now)
        }

    def size(self, project_id: str) -> int:
        """Number of jobs when the list was last read; 0 if it never was."""
        return self._sizes.get(project_id, 0)

    def was_read(self, listing: Listing) -> None:
        """Record a list that was read."""
        self._was_read = True
        self._refused_until.pop(listing.project_id, None)
        if listing.is_whole:
            self._truncated.discard(listing.project_id)
            if listing.jobs:
                self._sizes[listing.project_id] = len(listing.jobs)

    def was_refused(self, project_id: str, now: float) -> None:
        """Record that a list was refused; it is requested again much later."""
        self._was_read = True
        self._refused_until[project_id] = now + REFUSED_FOR * self._interval

    def was_too_large(self, project_id: str, size: int) -> None:
        """Record that a list was too long to be read to its end."""
        self._was_read = True
        self._sizes[project_id] = size
        self._truncated.add(project_id)

    def ended(
        self, read: JobListsResult | None, plan: Collection[str], must: Collection[str], now: float
    ) -> bool:
        """Record the end of a read of the planned lists; True if it returned a list with jobs.

        Lists that fail several times in a row are treated as refused, so that others may replace them.
        """
        self._failures = 0 if read else self._failures + 1
        if self._failures >= STALE_AFTER:
            self._failures = 0
            self._give_up(plan, must, now)
        if read is None or not any(listing.jobs for listing in read.listings):
            return False
        self.read_ms, self._read_at = read.read_ms, now
        return True

    def _give_up(self, plan: Collection[str], must: Collection[str], now: float) -> None:
        """Treat the planned lists as refused, except required ones that no other list can replace.

        The list of all jobs makes room for the lists of other required projects, if there are any.
        """
        if ALL in must and len(must) > 1:
            needed = set(must) - {ALL}
        else:
            is_replaceable = ALL not in must and ALL not in self._truncated and not self._is_refused(ALL, now)
            needed = set() if is_replaceable else set(must)
        for project_id in set(plan).difference(needed):
            self.was_refused(project_id, now)

    def are_recent(self, now: float) -> bool:
        """Return whether a list with jobs was read lately."""
        return now - self._read_at <= STALE_AFTER * self._interval

    def distrust(self, now: float) -> None:
        """Distrust lists for a while, longer each time, until they have been right for long enough."""
        longest = LONGEST_DOUBT * self._interval
        were_right = now - self._distrusted_until >= max(VERIFIED_AFTER_S, self._doubt)
        self._doubt = FIRST_DOUBT * self._interval if were_right else min(2 * self._doubt, longest)
        self._distrusted_until = now + self._doubt

    def are_trusted(self, now: float) -> bool:
        """Return whether lists may decide which jobs to poll."""
        return now >= self._distrusted_until

    def hid(self, job: JobState, began_ms: int | None) -> bool:
        """Return whether lists should have shown a build that a poll has found, given its start if known."""
        silent_until_ms, listed = job.lists.silent_until_ms, job.lists.listed
        if began_ms is None or silent_until_ms is None:
            return False
        if listed and listed.number is None and begins_as(began_ms, listed):
            return False  # without numbers, the list shows this build as well as one that began with it
        return began_ms + (2 * self._interval + 5) * 1000 < silent_until_ms

    def stale_before_ms(self, read_ms: int) -> float:
        """Time of the oldest listing that still covers a job."""
        return read_ms - STALE_AFTER * self._interval * 1000

    def clamp_timestamps(self, at_ms: int) -> bool:
        """Clamp timestamps to `at_ms` after the service clock was corrected; True if one was later."""
        is_ahead = self.read_ms is not None and self.read_ms > at_ms
        if is_ahead:
            self.read_ms = at_ms
        return is_ahead

    def _is_refused(self, project_id: str, now: float) -> bool:
        return now < self._refused_until.get(project_id, 0.0)

    def _pages(self, project_id: str) -> int:
        return pages_of(self.size(project_id))
