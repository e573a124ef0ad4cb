"""Jobs without an answer since the start, and refusals of everything; pure."""

from collections.abc import Collection, Iterable
from typing import Final

from exporter.errors import ApiError, NotPublishedError, RefusalError
from exporter.poller.tasks_and_results import (
    ALL,
    FLEET_TASKS,
    JOB_LISTS,
    JobListsResult,
    TaskResult,
    is_stages_task,
)
from exporter.poller.watchlist import Watchlist


class Readiness:
    """The jobs and projects without an answer since the start, from the API or the store.

    Args:
        watchlist: the jobs at the start, with their ledgers. A project with a ledger was read before.
        answered: tasks that the previous poller completed and that keep their due times.
        refused: projects whose lists were refused to the previous poller and are not requested now.
    """

    def __init__(
        self, watchlist: Watchlist, answered: Collection[str] = (), refused: Collection[str] = ()
    ) -> None:
        jobs = watchlist.states.values()
        self._waiting = {job.id for job in jobs if job.ledger is None and job.id not in answered}
        self._discovers = bool(watchlist.watched_projects)
        self._lists: set[str] = set()
        if self._discovers:
            projects = {job.id: watchlist.names(job.id).project_id for job in jobs if job.ledger is not None}
            read_before = {project_id for project_id in projects.values() if project_id != ALL}
            discovered = watchlist.discovered.intersection(projects)
            read_before |= {watchlist.entry_of(projects[job_id]) for job_id in discovered}
            self._lists = set(watchlist.watched_projects.difference(read_before, refused))
        elif not jobs or self._waiting:
            self._lists = {JOB_LISTS}
        if JOB_LISTS in answered:
            self._lists.clear()
        self._refused_lists: set[str] = set()
        self._refused_jobs: set[str] = set()
        self._is_reported = False

    @property
    def is_ready(self) -> bool:
        """Every job has a ledger or was refused; each watched project's jobs are known, or it was refused."""
        return not self._lists and not self._waiting

    def answered_of(self, tasks: Collection[str]) -> frozenset[str]:
        """Those of some tasks that are not waited for."""
        return frozenset(tasks) - self._waiting - ({JOB_LISTS} if self._lists else frozenset())

    def wait_for(self, job_ids: Iterable[str]) -> None:
        """Wait for jobs that are watched from now on."""
        self._waiting.update(job_ids)

    def answered(self, job_ids: Iterable[str]) -> None:
        """Stop waiting for jobs that have a ledger, or are not watched any more."""
        self._waiting.difference_update(job_ids)

    def lists_read(self, read: JobListsResult | None) -> None:
        """Record the end of a read of the job lists; None if it failed.

        A list that was not read to its end does not show which jobs a project has. If no project is watched,
        no job has to be discovered, and any end is enough.
        """
        if not self._discovers:
            self._lists.clear()
        if read:
            whole = {listing.project_id for listing in read.listings if listing.is_whole}
            self._lists -= self._lists if ALL in whole else whole
            self._refused_lists.update(read.refused)

    def refused(self, job_id: str) -> None:
        """Record that the API refused a job."""
        self._refused_jobs.add(job_id)

    def judge(self, *, refuses_everything: bool) -> None:
        """Stop waiting for what was refused, unless the API refuses everything.

        Then each job is requested again soon. Lists are not, so their refusals are kept until another task
        is answered.
        """
        if not refuses_everything:
            self._waiting -= self._refused_jobs
            self._lists -= self._refused_lists
            self._refused_lists.clear()
        self._refused_jobs.clear()

    def progress(self) -> int | None:
        """Return the number of jobs that are waited for; None once it was reported that all are ready."""
        if self.is_ready and self._is_reported:
            return None
        self._is_reported = self.is_ready
        return len(self._waiting)


JOBS_REFUSED: Final = 3
"""Jobs that must be refused, or all of fewer, besides the job lists or the recycle bin."""


class Refusals:
    """Finds out whether all polls, the job lists and the recycle bin ended with the same refusal.

    Then no single job is to blame.
    """

    def __init__(self) -> None:
        self._answered: set[str] = set()
        self._refused: dict[str, ApiError] = {}

    def ended(self, result: TaskResult) -> None:
        """Record an answer or a refusal of a watched task; other errors change nothing."""
        asked_nothing = isinstance(result.value, JobListsResult) and not result.value.was_answered
        if asked_nothing or is_stages_task(result.task):
            return
        error = result.failure
        if error is not None and not isinstance(error, RefusalError | NotPublishedError):
            return
        self.forget([result.task])
        if error is None:
            self._answered.add(result.task)
        else:
            self._refused[result.task] = error

    def forget(self, tasks: Iterable[str]) -> None:
        """Forget how tasks ended, of jobs that are not watched any more."""
        for task in tasks:
            self._answered.discard(task)
            self._refused.pop(task, None)

    def of_everything(self, watched: int) -> ApiError | None:
        """Return the refusal that every task ended with; None if one was answered or refused otherwise."""
        of_fleet = [self._refused[task] for task in FLEET_TASKS if task in self._refused]
        jobs = len(self._refused) - len(of_fleet)
        if self._answered or not of_fleet or jobs < min(JOBS_REFUSED, watched):
            return None
        codes = {(error.code, error.error_code) for error in self._refused.values()}
        return of_fleet[0] if len(codes) == 1 else None
