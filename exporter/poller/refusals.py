"""Whether the API refuses whatever it is asked, and always alike: then no single job is to blame. Pure."""

from collections.abc import Iterable
from typing import Final

from exporter.errors import ApiError, NotPublishedError, NotVisibleError, RejectedError
from exporter.poller.tasks import (
    JOB_LISTS,
    RECYCLE_BIN,
    JobListsResult,
    Observations,
    TaskResult,
    Timer,
    is_of_stages,
)

JOBS_REFUSED: Final = 3
"""So many jobs must be refused, or all where there are fewer, beside the job lists or the recycle bin."""


def note_end(result: TaskResult) -> None:
    """Note whether a task ended with an answer or with a refusal; anything else changes nothing."""
    asked_nothing = isinstance(result.value, JobListsResult) and not result.value.was_answered
    if asked_nothing or is_of_stages(result.task):
        return
    error = _error_of(result)
    if error is None:
        result.timer.ended_with = True
    elif isinstance(error, NotVisibleError | RejectedError | NotPublishedError):
        result.timer.ended_with = error


def everything_refused(timers: Iterable[Timer], watched: int) -> ApiError | None:
    """The refusal that every task has ended with; None where one was answered, or refused otherwise.

    Args:
        timers: of all polls, the job lists and the recycle bin.
        watched: how many jobs are watched.
    """
    jobs, refusals = 0, list[ApiError]()
    for timer in timers:
        if timer.ended_with is True:
            return None
        if timer.ended_with:
            refusals.append(timer.ended_with)
            jobs += timer.task not in (JOB_LISTS, RECYCLE_BIN)
    if jobs < min(JOBS_REFUSED, watched) or jobs == len(refusals):
        return None
    return refusals[0] if len({(error.code, error.error_code) for error in refusals}) == 1 else None


def _error_of(result: TaskResult) -> Exception | None:
    """Why a task did not get what it asked for; None where it did."""
    if isinstance(result.value, Observations):
        return result.value.error
    if isinstance(result.value, JobListsResult):
        return result.value.refusal if result.value.was_refused else None
    return result.error
