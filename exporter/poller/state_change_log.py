"""Log lines for changes of state, not for every poll: API lost and recovered, a job failing, the store."""

from collections.abc import Collection, Mapping
from typing import Final

import structlog

from exporter.api.endpoint_fallback import Sources
from exporter.errors import (
    ApiError,
    CredentialsError,
    RefusalError,
    StoreError,
    ThrottledError,
    UnreadableRowsError,
)
from exporter.poller.tasks_and_results import JOB_LISTS, StagesFetched, Timer, is_stages_task, stages_task

LOST_AFTER: Final = 3
"""Failures in a row after which a line is logged: of different tasks or of the job lists, that the API is
lost; of one task, that it fails; of steps that fetch stages, that those fail."""

PROGRESS_FROM: Final = 100
"""Watched jobs from which the progress of the first polls is logged."""

CLOCK_OFF_S: Final = 60.0
"""Offset that is logged; half of it ends the state."""

_log = structlog.get_logger(__name__)


class StateChangeLog:
    """Remembers the state of the API, the store and the job lists, and logs changes."""

    def __init__(self) -> None:
        self._failing_in_a_row: set[str] = set()
        self._list_failures = 0
        self._commit = Timer("commit")
        self._api_lost = False
        self._tenths = 0
        self._store_failed = False
        self._clock_off = False
        self._refuses_everything = False
        self._lists_distrusted = False
        self._lists_refused: set[str] = set()
        self._empty_projects: set[str] = set()
        self._poll_answered = False
        self._steps_failed = 0
        self._steps_refused = 0
        self._stages_fail = False
        self._records_ended = ""
        self._withdrawn: frozenset[str] = frozenset()

    def succeeded(self, timer: Timer) -> None:
        """Record that a task succeeded."""
        self._failing_in_a_row.clear()
        self._list_failures = 0
        if self._api_lost and not self._refuses_everything:
            self._api_lost = False
            _log.info("api_recovered")
        if not is_stages_task(timer.task):
            self._poll_answered = True
        timer.failures, timer.has_bug = 0, False
        if timer.is_reported:
            timer.is_reported = False
            _log.info("poll_recovered", task=timer.task)

    def failed(self, timer: Timer, error: ApiError) -> None:
        """Record that a task failed."""
        timer.failures += 1
        is_refused = isinstance(error, RefusalError)
        if not is_refused:
            self._failing_in_a_row.add(timer.task)
            self._list_failures += timer.task == JOB_LISTS
            if max(len(self._failing_in_a_row), self._list_failures) >= LOST_AFTER:
                self._lose_api(error)
        is_its_own = is_refused and not self._refuses_everything
        persists = is_its_own or (timer.failures >= LOST_AFTER and not self._api_lost)
        if persists and not timer.is_reported:
            timer.is_reported = True
            _log.warning("poll_failed", task=timer.task, **_fields(error))

    def everything_refused(self, error: ApiError | None) -> None:
        """Record the refusal that every task ended with, or that there is none."""
        self._refuses_everything = error is not None
        if error:
            self._lose_api(error)

    def _lose_api(self, error: ApiError) -> None:
        if self._api_lost:
            return
        self._api_lost = True
        if self._refuses_everything:
            _log.warning("api_refuses_everything", **_fields(error))
        else:
            _log.warning("api_lost", **_fields(error))

    def forget(self, job_ids: Collection[str]) -> None:
        """Forget jobs that are not watched any more."""
        self._failing_in_a_row.difference_update(job_ids, map(stages_task, job_ids))

    def stages_fetched(self, timer: Timer, fetched: StagesFetched) -> None:
        """Record a step that fetched stages; only refused credentials concern all tasks."""
        if isinstance(fetched.failure, CredentialsError):
            self.failed(timer, fetched.failure)
            return
        polls_fail = self._api_lost or bool(self._failing_in_a_row)
        if fetched.has_answers:
            self.succeeded(timer)
        error = fetched.refusal or fetched.failure
        if fetched.has_stages:
            self._steps_failed = self._steps_refused = 0
            if self._stages_fail:
                self._stages_fail = False
                _log.info("stages_recovered")
        elif error and not polls_fail and not isinstance(error, ThrottledError):
            self._step_failed(timer.task, error, refused=fetched.refusal is not None)

    def _step_failed(self, task: str, error: ApiError, *, refused: bool) -> None:
        """Log a line once steps keep failing.

        One refusal may concern only its build, and one failure all of the API. So a failed step counts only
        if a poll was answered since the last one.
        """
        if refused:
            self._steps_refused += 1
            self._steps_failed = 0
        elif self._poll_answered:
            self._steps_failed += 1
            self._poll_answered = False
        if max(self._steps_refused, self._steps_failed) >= LOST_AFTER and not self._stages_fail:
            self._stages_fail = True
            _log.warning("stages_failed", task=task, **_fields(error))

    def progress(self, waiting: int, watched: int) -> None:
        """Log each tenth of a large fleet that was polled for the first time."""
        tenths = 10 * (watched - waiting) // max(1, watched)
        if watched >= PROGRESS_FROM and tenths > self._tenths:
            _log.info("first_polls", done=watched - waiting, of=watched)
        self._tenths = tenths

    def unexpected_error(self, timer: Timer | None) -> None:
        """Log the exception that is being handled, of a task or, with None, of a commit; once in a row."""
        timer = timer or self._commit
        if not timer.has_bug:
            timer.has_bug = True
            _log.exception("unexpected_error", task=timer.task)

    def lists_distrusted(self, task: str) -> None:
        """Log that a poll found a build that the job lists had hidden."""
        self._lists_distrusted = True
        _log.warning("job_lists_not_trusted", task=task)

    def lists_trusted(self) -> None:
        """Record that job lists decide which jobs to poll."""
        if self._lists_distrusted:
            self._lists_distrusted = False
            _log.info("job_lists_trusted")

    def lists_read(self, refused: Collection[str], read: Collection[str]) -> None:
        """Record the job lists that were refused and read; `""` is the list of all jobs."""
        for project_id in sorted(set(refused) - self._lists_refused):
            _log.warning("job_list_refused", project_id=project_id or "all")
        for project_id in sorted(self._lists_refused.intersection(read)):
            _log.info("job_list_allowed_again", project_id=project_id or "all")
        self._lists_refused = (self._lists_refused | set(refused)).difference(read)

    def watched_jobs_changed(self, added: int, removed: int, jobs: int) -> None:
        """Log that jobs of projects came or went; ``jobs`` are watched now."""
        if added or removed:
            _log.info("watched_jobs_changed", added=added, removed=removed, jobs=jobs)

    def projects_listed(self, projects: Mapping[str, tuple[int, bool]]) -> None:
        """Record, by watched project, how many jobs a list shows and whether any is to be watched."""
        for project_id, (jobs, has_watched) in projects.items():
            if has_watched and project_id in self._empty_projects:
                self._empty_projects.remove(project_id)
                _log.info("project_shows_jobs", project_id=project_id or "all", listed=jobs)
            elif not has_watched and project_id not in self._empty_projects:
                self._empty_projects.add(project_id)
                _log.warning("project_shows_no_job", project_id=project_id or "all", listed=jobs)

    def sources_used(self, sources: Sources) -> None:
        """Record which endpoints are used."""
        if sources.records.ended != self._records_ended:
            self._records_ended = sources.records.ended
            _log.warning("records_not_used", reason=self._records_ended)
        for operation in sorted(sources.withdrawn ^ self._withdrawn):
            endpoint = sources.endpoints[operation]
            if endpoint.is_withdrawn:
                _log.warning("endpoint_withdrawn", endpoint=endpoint.older, replaced_by=endpoint.newer)
            else:
                _log.info("endpoint_restored", endpoint=endpoint.older)
        self._withdrawn = sources.withdrawn

    def clock_compared(self, offset_s: float | None) -> None:
        """Record the service's clock minus ours in seconds; None if unknown."""
        off_s = abs(offset_s or 0.0)
        if off_s > CLOCK_OFF_S and not self._clock_off:
            self._clock_off = True
            _log.warning("clock_offset_high", offset_s=round(offset_s or 0.0))
        elif self._clock_off and offset_s is not None and off_s <= CLOCK_OFF_S / 2:
            self._clock_off = False
            _log.info("clock_offset_normal", offset_s=round(offset_s))

    def store_failed(self, error: Exception) -> None:
        """Record that the store failed, with the exception that is being handled."""
        if not isinstance(error, StoreError):
            self.unexpected_error(None)
        elif not self._store_failed:
            self._store_failed = True
            _log.error("store_unavailable", error=str(error))

    def store_works(self) -> None:
        """Record that ledgers were committed."""
        self._commit.has_bug = False
        if self._store_failed:
            self._store_failed = False
            _log.info("store_recovered")

    def rows_unreadable(self, error: UnreadableRowsError) -> None:
        """Log that some jobs can be neither loaded nor committed."""
        _log.error("ledgers_unreadable", jobs=len(error.job_ids), error=str(error))

    def store_went_back(self, ledgers: int) -> None:
        """Log that ledgers were older in the store than committed, and were written again."""
        _log.warning("store_went_back", ledgers=ledgers)


def _fields(error: ApiError) -> dict[str, str]:
    return {"error": str(error), "kind": type(error).__name__}
