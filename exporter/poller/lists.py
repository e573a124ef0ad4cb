"""What job lists are worth: where to ask, which jobs they show a change of, how far they are believed.

Lists are trusted for speed, never for truth. A job that they serve is polled when they show a change, and by
itself only now and then; if such a poll finds what they had not shown, they are not believed for a while.
No I/O, no clock: times are seconds given by the caller.
"""

from collections.abc import Collection
from typing import Final

from exporter.model import ListedJob
from exporter.watchlist import Listing

ALL: Final = ""
"""Stands for the list of all jobs that the credentials see, among project ids."""

PAGE: Final = 100
REFUSED_FOR: Final = 60
"""Intervals until a list that was refused is asked for again."""

NAMES_WORTH: Final = 10
"""So many requests are worth the names of jobs, now and then, even where polls are cheaper."""

UNSEEN_AFTER: Final = 3
"""A job that so many good lists in a row did not show is not served by them."""

STALE_AFTER: Final = 3
"""Lists serve until so many intervals after they were last read."""

FIRST_DOUBT: Final = 60
LONGEST_DOUBT: Final = 1440
"""Intervals that lists are not believed after a lie; doubled at each."""


class JobLists:
    """The state of knowledge about lists.

    Args:
        interval: seconds between two sweeps.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._shown: dict[str, ListedJob] = {}
        self._polled_at_mark: dict[str, object] = {}
        self._missed: dict[str, int] = {}
        self._seen_ms: dict[str, int] = {}
        self._agreed: set[str] = set()
        self._silent_until_ms: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._refused_until: dict[str, float] = {}
        self._doubt_until = 0.0
        self._doubt = FIRST_DOUBT * interval
        self._swept = False
        # Lists that are too long to be read to their end.
        self._cut: set[str] = set()

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
        to_be_had = {project for project in of_projects if not self._is_refused(project, now)}
        if not self._swept:
            return (ALL,)
        choices: list[tuple[int, tuple[str, ...]]] = []
        if not self._is_refused(ALL, now):
            choices.append((self._pages(ALL), (ALL,)))
        if ALL not in projects and to_be_had == of_projects:
            choices.append((sum(map(self._pages, of_projects)), tuple(sorted(of_projects))))
        needed = tuple(sorted(to_be_had.intersection(must)))
        cost, best = min(choices, default=(0, needed))
        return best if needed or cost <= max(watched, NAMES_WORTH) else ()

    def are_worth_it(self, plan: Collection[str], watched: int) -> bool:
        """Whether reading those lists takes fewer requests than polling each job."""
        return bool(plan) and sum(map(self._pages, plan)) < watched

    def to_be_had(self, project_ids: Collection[str], now: float) -> dict[str, int]:
        """Those of these lists that are not refused, in order, and how long they were."""
        return {one: self.size(one) for one in sorted(project_ids) if not self._is_refused(one, now)}

    def _is_refused(self, project_id: str, now: float) -> bool:
        return now < self._refused_until.get(project_id, 0.0)

    def take_in(self, listing: Listing, watched: Collection[str], read_ms: int) -> set[str]:
        """Learn from a list, as far as it shows watched jobs; those it has served and does not any more.

        Args:
            listing: the list.
            watched: ids of the watched jobs.
            read_ms: when it was read, by the service's clock.
        """
        self._swept = True
        self._refused_until.pop(listing.project_id, None)
        if listing.is_whole:
            self._cut.discard(listing.project_id)
        if listing.is_whole and listing.jobs:
            self._sizes[listing.project_id] = len(listing.jobs)
        for job_id in listing.jobs.keys() & set(watched):
            self._shown[job_id] = listing.jobs[job_id]
            self._missed[job_id] = 0
            self._seen_ms[job_id] = read_ms
            if job_id in self._agreed and self._polled_at_mark.get(job_id) == listing.jobs[job_id].mark:
                self._silent_until_ms[job_id] = read_ms
        no_more: set[str] = set()
        for job_id, listed in self._shown.items():
            if listing.lacks(job_id, listed.names.project_id):
                self._missed[job_id] += 1
                if self._missed[job_id] == UNSEEN_AFTER:
                    no_more.add(job_id)
        return no_more

    def refused(self, project_id: str, now: float) -> None:
        """A list is not to be had with these credentials; it is asked for again much later."""
        self._swept = True
        self._refused_until[project_id] = now + REFUSED_FOR * self._interval

    def give_up(self, plan: Collection[str], must: Collection[str], now: float) -> None:
        """Those lists fail again and again; where no other may do, the ones that are needed are asked on."""
        needed = () if self.to_be_had((ALL,), now) and ALL not in self._cut else must
        for project_id in set(plan).difference(needed):
            self.refused(project_id, now)

    def too_large(self, project_id: str, size: int) -> None:
        """A list was not read to its end, since it is so long."""
        self._swept = True
        self._sizes[project_id] = size
        self._cut.add(project_id)

    def shown(self, job_id: str) -> ListedJob | None:
        """A job as it was last listed; None where lists do not show it any more."""
        return self._shown.get(job_id) if self._missed.get(job_id, UNSEEN_AFTER) < UNSEEN_AFTER else None

    def seen_ms(self, job_id: str) -> int | None:
        """When the list was read that showed a job last, by the service's clock."""
        return self._seen_ms.get(job_id)

    def set_back(self, at_ms: int) -> None:
        """The service's clock was ahead before: nothing was seen later than now, or proves anything."""
        self._seen_ms = {job_id: min(ms, at_ms) for job_id, ms in self._seen_ms.items()}
        self._silent_until_ms = {job_id: ms for job_id, ms in self._silent_until_ms.items() if ms <= at_ms}

    def age(self, read_ms: int) -> set[str]:
        """Stop to rely on what no list has shown for a while; the jobs that are served no more."""
        oldest_ms = read_ms - STALE_AFTER * self._interval * 1000
        aged = {job_id for job_id, seen_ms in self._seen_ms.items() if seen_ms < oldest_ms}
        aged = {job_id for job_id in aged if self._missed[job_id] < UNSEEN_AFTER}
        for job_id in aged:
            self._missed[job_id] = UNSEEN_AFTER
        return aged

    def changed(self, job_ids: Collection[str]) -> list[str]:
        """The jobs that the lists show otherwise than when they were polled, the latest build first."""
        changed = [
            listed
            for job_id in job_ids
            if (listed := self.shown(job_id)) and self._polled_at_mark.get(job_id) != listed.mark
        ]
        changed.sort(key=lambda listed: listed.last_build_ms or 0, reverse=True)
        return [listed.id for listed in changed]

    def mark(self, job_id: str) -> object:
        """How a job is listed now; to be kept while it is polled, and given to `polled` afterwards."""
        listed = self.shown(job_id)
        return listed.mark if listed else None

    def polled(self, job_id: str, mark: object, *, agreed: bool = True) -> None:
        """A poll that began when the job was listed like that has succeeded, and agreed with the list."""
        self._polled_at_mark[job_id] = mark
        self._silent_until_ms.pop(job_id, None)
        if agreed:
            self._agreed.add(job_id)
        else:
            self._agreed.discard(job_id)

    def were_silent_on(self, job_id: str, began_ms: int | None) -> bool:
        """Whether lists should have shown a build that a poll has found, and did not.

        Args:
            job_id: whose build it is.
            began_ms: when the build began, by the service's clock; None where that is not told.
        """
        silent_until_ms = self._silent_until_ms.get(job_id)
        if began_ms is None or silent_until_ms is None:
            return False
        return began_ms + (2 * self._interval + 5) * 1000 < silent_until_ms

    def lied(self, now: float) -> None:
        """Do not believe lists for a while; longer each time."""
        self._doubt_until = now + self._doubt
        self._doubt = min(2 * self._doubt, LONGEST_DOUBT * self._interval)

    def are_believed(self, now: float) -> bool:
        """Whether lists may tell which jobs to poll."""
        return now >= self._doubt_until

    def forget(self, job_ids: Collection[str]) -> None:
        """Those jobs are not watched any more."""
        for job_id in job_ids:
            for kept in (
                self._shown,
                self._missed,
                self._seen_ms,
                self._polled_at_mark,
                self._silent_until_ms,
            ):
                kept.pop(job_id, None)
            self._agreed.discard(job_id)

    def size(self, project_id: str) -> int:
        """How long a list was when it was last read; 0 where it never was."""
        return self._sizes.get(project_id, 0)

    def _pages(self, project_id: str) -> int:
        return max(1, -(-self.size(project_id) // PAGE))
