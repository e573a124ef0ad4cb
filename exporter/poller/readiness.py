"""Readiness: which watched jobs and projects the API or the store has not answered for yet; pure."""

from collections.abc import Collection

from exporter.poller.job_state import JobState
from exporter.poller.tasks import ALL, JOB_LISTS, JobListsResult
from exporter.poller.watchlist import Watchlist


class Readiness:
    """What has not been answered since the start. Of each job, `JobState.answered` says so.

    Args:
        watchlist: what is watched at the start. A project that a job with a ledger belongs to was read
            before.
        answered: tasks that a poller before has been answered, and that go on as they were.
        refused: projects whose lists a poller before was refused, and that are not asked for now.
    """

    def __init__(
        self, watchlist: Watchlist, answered: Collection[str] = (), refused: Collection[str] = ()
    ) -> None:
        self._states = watchlist.states
        for job in self._states.values():
            job.answered = job.answered or job.ledger is not None or job.id in answered
        self._discovers = bool(watchlist.watched_projects)
        self._lists: set[str] = set()
        if self._discovers:
            read_before = {
                watchlist.names(job.id).project_id for job in self._states.values() if job.ledger is not None
            }
            self._lists = set(watchlist.watched_projects.difference(read_before, refused))
        elif not watchlist.states or self.waiting:
            self._lists = {JOB_LISTS}
        if JOB_LISTS in answered:
            self._lists = set()
        self._refused_lists: set[str] = set()
        self._refused_jobs: list[JobState] = []
        self._is_reported = False

    @property
    def waiting(self) -> int:
        """How many jobs have no ledger yet and were not refused."""
        return sum(not job.answered for job in self._states.values())

    @property
    def is_ready(self) -> bool:
        """Every job has a ledger or was refused; each watched project's jobs are known, or it was refused."""
        return not self._lists and all(job.answered for job in self._states.values())

    def answered(self, tasks: Collection[str]) -> frozenset[str]:
        """Those of some tasks that need not be waited for."""
        waiting = {job.id for job in self._states.values() if not job.answered}
        return frozenset(tasks) - waiting - ({JOB_LISTS} if self._lists else frozenset())

    def lists_read(self, read: JobListsResult | None) -> None:
        """Reading the job lists ended; None where it failed.

        A list that was not read to its end does not show which jobs a project has. Where no project is
        watched, no job waits to be discovered, and any end is enough.
        """
        if not self._discovers:
            self._lists.clear()
        if read:
            whole = {listing.project_id for listing in read.listings if listing.is_whole}
            self._lists -= self._lists if ALL in whole else whole
            self._refused_lists.update(read.refused)

    def refused(self, job: JobState) -> None:
        """The API refused a job."""
        self._refused_jobs.append(job)

    def judge(self, *, refuses_everything: bool) -> None:
        """Wait no longer for what was refused.

        An API that refuses everything has not answered for a job: each is asked again soon. Lists are not,
        so their refusals are kept until another task is answered.
        """
        if not refuses_everything:
            for job in self._refused_jobs:
                job.answered = True
            self._lists -= self._refused_lists
            self._refused_lists.clear()
        self._refused_jobs.clear()

    def news(self) -> int | None:
        """How many jobs are still waited for; None where it was reported that all is there."""
        if self.is_ready and self._is_reported:
            return None
        self._is_reported = self.is_ready
        return self.waiting
