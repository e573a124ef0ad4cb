"""Readiness: of which watched jobs, and of which watched projects, the API or the store still has to tell.

No I/O, no clock.
"""

from collections.abc import Collection, Iterable

from exporter.poller.agenda import JOB_LISTS
from exporter.poller.lists import ALL
from exporter.poller.swept import Swept
from exporter.watchlist import Watchlist


class Readiness:
    """What has not been answered since the start.

    Args:
        watchlist: what is watched at the start.
        restored: the jobs that the store has a ledger of. A project that one of them belongs to was read
            before.
        answered: tasks that a poller before has been answered, and that go on as they were.
        refused: projects whose lists a poller before was refused, and that are not asked for now.
    """

    def __init__(
        self,
        watchlist: Watchlist,
        restored: Collection[str],
        answered: Collection[str] = (),
        refused: Collection[str] = (),
    ) -> None:
        self._jobs = set(watchlist.ids.difference(restored, answered))
        self._discovers = bool(watchlist.watched_projects)
        self._lists: set[str] = set()
        if self._discovers:
            read_before = {watchlist.names(job_id).project_id for job_id in watchlist.ids & set(restored)}
            self._lists = set(watchlist.watched_projects.difference(read_before, refused))
        elif self._jobs or not watchlist.ids:
            self._lists = {JOB_LISTS}
        if JOB_LISTS in answered:
            self._lists = set()
        self._refused: set[str] = set()
        self._is_told = False

    @property
    def is_ready(self) -> bool:
        """Every job has a ledger or was refused; each watched project's jobs are known, or it was refused."""
        return not self._jobs and not self._lists

    def answered(self, tasks: Collection[str]) -> frozenset[str]:
        """Those of some tasks that need not be waited for."""
        return frozenset(tasks) - self._jobs - ({JOB_LISTS} if self._lists else frozenset())

    def swept(self, swept: Swept | None) -> None:
        """A sweep ended; None where it failed.

        A list that was not read to its end tells of no project. Where no project is watched, no job waits to
        be discovered, and any end will do.
        """
        if not self._discovers:
            self._lists.clear()
        if swept:
            whole = {listing.project_id for listing in swept.listings if listing.is_whole}
            self._lists -= self._lists if ALL in whole else whole
            self._refused.update(swept.refused)

    def expect(self, job_ids: Iterable[str]) -> None:
        """Those jobs are watched from now on, and have no ledger yet."""
        self._jobs.update(job_ids)

    def settled(self, job_ids: Iterable[str]) -> None:
        """Those jobs have a ledger, will not get one, or are not watched any more."""
        self._jobs.difference_update(job_ids)

    def refused(self, job_ids: Iterable[str]) -> None:
        """The API said of those jobs that they are not to be had."""
        self._refused.update(job_ids)

    def judge(self, *, refuses_everything: bool) -> None:
        """Wait no more for what was refused; an API that refuses everything has said nothing of it."""
        if not refuses_everything:
            self._jobs -= self._refused
            self._lists -= self._refused
            self._refused.clear()

    def news(self) -> int | None:
        """How many jobs are still waited for; None where it has been told that all is there."""
        if self.is_ready and self._is_told:
            return None
        self._is_told = self.is_ready
        return len(self._jobs)
