"""The log tells what changed, not what goes on: API lost and back, a job gone and back, the store."""

from collections.abc import Collection, Mapping
from typing import Final

import structlog

from exporter.errors import (
    ApiError,
    CredentialsError,
    NotVisibleError,
    RejectedError,
    StoreError,
    ThrottledError,
)
from exporter.poller.tasks import JOB_LISTS, StagesFetched, Timer, is_of_stages, stages_of

LOST_AFTER: Final = 3
"""So many different tasks, or sweeps, fail in a row before the API is lost; one task, before it is named;
steps for stages, before they are."""

PROGRESS_FROM: Final = 100
"""Fewer jobs are polled before anybody could ask how far it is."""

CLOCK_OFF_S: Final = 60.0
"""An offset that is logged; it must be half as large to be over."""

_log = structlog.get_logger(__name__)


class StateChangeLog:
    """Remembers what was good and what was not, and writes a line when that changes."""

    def __init__(self) -> None:
        self._failing_in_a_row: set[str] = set()
        self._sweeps_in_a_row = 0
        self._commit_has_bug = False
        self._api_lost = False
        self._tenths = 0
        self._store_failed = False
        self._clock_off = False
        self._refuses_everything = False
        self._lists_doubted = False
        self._lists_refused: set[str] = set()
        self._projects_bare: set[str] = set()
        self._poll_answered = False
        self._steps_failed = 0
        self._steps_refused = 0
        self._stages_fail = False

    def succeeded(self, timer: Timer) -> None:
        """A task succeeded."""
        self._failing_in_a_row.clear()
        self._sweeps_in_a_row = 0
        if self._api_lost and not self._refuses_everything:
            self._api_lost = False
            _log.info("api_recovered")
        if not is_of_stages(timer.task):
            self._poll_answered = True
        timer.failures, timer.has_bug = 0, False
        if timer.is_reported:
            timer.is_reported = False
            _log.info("poll_recovered", task=timer.task)

    def failed(self, timer: Timer, error: ApiError) -> None:
        """A task failed."""
        task = timer.task
        timer.failures += 1
        its_own = isinstance(error, NotVisibleError | RejectedError)
        if not its_own:
            self._failing_in_a_row.add(task)
            self._sweeps_in_a_row += task == JOB_LISTS
            in_a_row = max(len(self._failing_in_a_row), self._sweeps_in_a_row)
            if in_a_row >= LOST_AFTER and not self._api_lost:
                self._api_lost = True
                _log.warning("api_lost", error=str(error), kind=type(error).__name__)
        its_own = its_own and not self._refuses_everything
        persistent = its_own or (timer.failures >= LOST_AFTER and not self._api_lost)
        if persistent and not timer.is_reported:
            timer.is_reported = True
            _log.warning("poll_failed", task=task, error=str(error), kind=type(error).__name__)

    def forget(self, job_ids: Collection[str]) -> None:
        """Those jobs are not watched any more."""
        self._failing_in_a_row.difference_update(job_ids, map(stages_of, job_ids))

    def stages_fetched(self, timer: Timer, fetched: StagesFetched) -> None:
        """A step asked for stages; only refused credentials concern all tasks."""
        if isinstance(fetched.failure, CredentialsError):
            self.failed(timer, fetched.failure)
            return
        polls_fail = self._api_lost or bool(self._failing_in_a_row)
        if fetched.helps:
            self.succeeded(timer)
        error = fetched.refusal or fetched.failure
        if fetched.has_stages:
            self._stages_came()
        elif error and not polls_fail and not isinstance(error, ThrottledError):
            self._stages_missing(timer.task, error, refused=fetched.refusal is not None)

    def _stages_came(self) -> None:
        self._steps_failed = self._steps_refused = 0
        if self._stages_fail:
            self._stages_fail = False
            _log.info("stages_recovered")

    def _stages_missing(self, task: str, error: ApiError, *, refused: bool) -> None:
        """A line once, where it goes on: one refusal may concern its build, one failure all of the API.

        So a step that failed counts only if a poll was answered since the last one that did.
        """
        if refused:
            self._steps_refused += 1
            self._steps_failed = 0
        elif self._poll_answered:
            self._steps_failed += 1
            self._poll_answered = False
        if max(self._steps_refused, self._steps_failed) >= LOST_AFTER and not self._stages_fail:
            self._stages_fail = True
            _log.warning("stages_failed", task=task, error=str(error), kind=type(error).__name__)

    def progress(self, waiting: int, watched: int) -> None:
        """So many watched jobs wait for their first poll; a line for each tenth of a large fleet."""
        tenths = 10 * (watched - waiting) // max(1, watched)
        if watched >= PROGRESS_FROM and tenths > self._tenths:
            _log.info("first_polls", done=watched - waiting, of=watched)
        self._tenths = tenths

    def bug(self, timer: Timer | None) -> None:
        """An exception that nobody expected, in a task or, with None, in a commit; call it while handled."""
        had_bug = timer.has_bug if timer else self._commit_has_bug
        if timer:
            timer.has_bug = True
        else:
            self._commit_has_bug = True
        if not had_bug:
            _log.exception("unexpected_error", task=timer.task if timer else "commit")

    def lists_lied(self, task: str) -> None:
        """A poll found what the job lists had not shown."""
        self._lists_doubted = True
        _log.warning("job_lists_not_trusted", task=task)

    def lists_serve(self) -> None:
        """Job lists tell which jobs to poll."""
        if self._lists_doubted:
            self._lists_doubted = False
            _log.info("job_lists_trusted")

    def lists_asked(self, refused: Collection[str], read: Collection[str]) -> None:
        """Those job lists are not to be had now, and those are; ``""`` is the list of all jobs."""
        for project_id in sorted(set(refused) - self._lists_refused):
            _log.warning("job_list_refused", project_id=project_id or "all")
        for project_id in sorted(self._lists_refused.intersection(read)):
            _log.info("job_list_allowed_again", project_id=project_id or "all")
        self._lists_refused = (self._lists_refused | set(refused)).difference(read)

    def projects_shown(self, shown: Mapping[str, tuple[int, bool]]) -> None:
        """So many jobs the lists show of each of those watched projects, and whether any is to watch."""
        for project_id, (jobs, has_some) in shown.items():
            if has_some and project_id in self._projects_bare:
                self._projects_bare.remove(project_id)
                _log.info("project_shows_jobs", project_id=project_id, listed=jobs)
            elif not has_some and project_id not in self._projects_bare:
                self._projects_bare.add(project_id)
                _log.warning("project_shows_no_job", project_id=project_id, listed=jobs)

    def everything_refused(self, error: ApiError | None) -> None:
        """Every task is refused, and alike; None where that is not so."""
        self._refuses_everything = error is not None
        if error and not self._api_lost:
            self._api_lost = True
            _log.warning("api_refuses_everything", error=str(error), kind=type(error).__name__)

    def clock_compared(self, offset_s: float | None) -> None:
        """The service's clock is so far ahead of ours, in seconds; None where that is not known."""
        off = abs(offset_s or 0.0)
        if off > CLOCK_OFF_S and not self._clock_off:
            self._clock_off = True
            _log.warning("clock_offset_high", offset_s=round(offset_s or 0.0))
        elif self._clock_off and offset_s is not None and off <= CLOCK_OFF_S / 2:
            self._clock_off = False
            _log.info("clock_offset_normal", offset_s=round(offset_s))

    def store_failed(self, error: StoreError) -> None:
        """Ledgers could not be committed."""
        if not self._store_failed:
            self._store_failed = True
            _log.error("store_unavailable", error=str(error))

    def store_went_back(self, ledgers: int) -> None:
        """So many ledgers were older in the store than they had been committed, and were written again."""
        _log.warning("store_went_back", ledgers=ledgers)

    def store_works(self) -> None:
        """Ledgers were committed."""
        self._commit_has_bug = False
        if self._store_failed:
            self._store_failed = False
            _log.info("store_recovered")
