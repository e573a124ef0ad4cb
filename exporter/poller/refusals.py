"""Whether the API refuses whatever it is asked, and always alike: then no single job is to blame. No I/O."""

from collections.abc import Collection, Iterable
from typing import Final

from exporter.errors import ApiError, NotPublishedError, NotVisibleError, RejectedError
from exporter.poller.agenda import JOB_LISTS, RECYCLE_BIN
from exporter.poller.poll import Polled
from exporter.poller.stages import is_of_stages
from exporter.poller.swept import Swept
from exporter.poller.work import Outcome

JOBS_REFUSED: Final = 3
"""So many jobs must be refused, or all where there are fewer, beside the job lists or the recycle bin."""

_SHARED: Final = frozenset({JOB_LISTS, RECYCLE_BIN})


class Refusals:
    """How each task ended last, by an answer or by a refusal; anything else changes nothing."""

    def __init__(self) -> None:
        self._answered: set[str] = set()
        self._refused: dict[str, ApiError] = {}

    def after(self, outcomes: Iterable[Outcome], watched: int) -> ApiError | None:
        """The refusal that every task has ended with; None where one was answered, or refused otherwise.

        Args:
            outcomes: of the tasks that have just ended.
            watched: how many jobs are watched.
        """
        for outcome in outcomes:
            asked_nothing = isinstance(outcome.brought, Swept) and not outcome.brought.was_answered
            if not asked_nothing and not is_of_stages(outcome.task):
                self._ended(outcome.task, _error_of(outcome))
        return self._of_everything(watched)

    def forget(self, job_ids: Collection[str]) -> None:
        """Those jobs are not watched any more."""
        for job_id in job_ids:
            self._answered.discard(job_id)
            self._refused.pop(job_id, None)

    def _ended(self, task: str, error: Exception | None) -> None:
        if error is None:
            self._answered.add(task)
            self._refused.pop(task, None)
        elif isinstance(error, NotVisibleError | RejectedError | NotPublishedError):
            self._answered.discard(task)
            self._refused[task] = error

    def _of_everything(self, watched: int) -> ApiError | None:
        if self._answered:
            return None
        jobs = len(self._refused.keys() - _SHARED)
        if jobs < min(JOBS_REFUSED, watched) or jobs == len(self._refused):
            return None
        if len({(error.code, error.error_code) for error in self._refused.values()}) > 1:
            return None
        return next(iter(self._refused.values()))


def _error_of(outcome: Outcome) -> Exception | None:
    """Why a task did not get what it asked for; None where it did."""
    brought = outcome.brought
    if isinstance(brought, Polled):
        return brought.error
    if isinstance(brought, Swept):
        return brought.refusal if brought.was_refused else None
    return outcome.error
