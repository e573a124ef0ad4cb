"""Asking: one question after another, given up in time where the API is in trouble.

A refusal of the credentials ends it at once, or the second one where they can be renewed, since five in a row
lock a key; so do requests that are too many for the service, and an API that does not answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from exporter.api.auth import Credentials
from exporter.api.client import ApiClient
from exporter.api.parsers import SERVICE_ZONE
from exporter.config import Config
from exporter.doctor.results import Answers, DetailAnswer, ListAnswer, is_refused
from exporter.doctor.watched import (
    PROJECTS_BY_DETAILS,
    Watched,
    detail_to_ask,
    histories_to_ask,
    names_are_wanted,
    watched,
)
from exporter.errors import (
    ApiError,
    CredentialsError,
    NotVisibleError,
    RejectedError,
    ThrottledError,
    UnreachableError,
)
from exporter.model import Build, BuildDetail, Stage
from exporter.poller.job_lists import LEAST_WORTH
from exporter.poller.observe import WINDOW_DAYS
from exporter.poller.tasks import ALL, PAGE, Listing

Value = TypeVar("Value")

REFUSALS: Final = 2
"""So many refusals of the credentials are borne in all, though they could be renewed."""

_THROTTLED: Final = 3
"""So many answers that ask for fewer requests are borne."""

_LONGEST_WAIT_S: Final = 15.0

_UNANSWERED: Final = 2

_TROUBLE: Final = 4
"""So many questions in a row without an answer, or without a good one, are enough."""


def ask(
    config: Config,
    client: ApiClient,
    credentials: Credentials,
    *,
    now: Callable[[], float],
    done: Callable[[], object],
) -> Answers:
    """Ask for all that an examination wants to know.

    Args:
        config: what is examined.
        client: is asked, one question at a time.
        credentials: what the client signs with.
        now: seconds since the epoch.
        done: is called after each question.
    """
    answers = _Asking(config, client, now, done).answers()
    return replace(
        answers,
        clock_offset_s=client.clock.seconds,
        expires_at=credentials.expires_at(),
    )


class _Asking:
    """One examination's questions."""

    def __init__(
        self, config: Config, client: ApiClient, now: Callable[[], float], done: Callable[[], object]
    ) -> None:
        self._config = config
        self._client = client
        self._now = now
        self._done = done
        self._stopped: ApiError | None = None
        self._throttled = 0
        self._trouble = 0
        self._unanswered = 0
        self._has_answered = False

    def answers(self) -> Answers:
        """All of them, as far as they could be asked."""
        lists = self._lists((ALL, *(project.id for project in self._config.projects)))
        plan = watched(self._config, Answers(lists=lists)).plan
        lists |= self._lists(project_id for project_id in plan if project_id not in lists)
        recycle_bin = self._try(self._client.recycle_bin) if self._config.recycle_bin.enabled else None
        answers = Answers(lists=lists, recycle_bin=recycle_bin)
        seen = watched(self._config, answers)
        histories = {
            job_id: answer
            for job_id in histories_to_ask(seen, recycle_bin)
            if (answer := self._try(partial(self._history, job_id))) is not None
        }
        detail = self._detail(detail_to_ask(histories, seen))
        answers = replace(answers, histories=histories, detail=detail, stages=self._stages(detail))
        answers, seen = self._lists_of_details(answers, seen)
        if names_are_wanted(seen, answers):
            answers = replace(answers, names=self._try(self._client.project_names))
        return replace(answers, stopped=self._stopped)

    def _lists(self, project_ids: Iterable[str]) -> dict[str, ListAnswer | ApiError]:
        return {
            project_id: answer
            for project_id in project_ids
            if (answer := self._try(partial(self._list, project_id))) is not None
        }

    def _lists_of_details(self, answers: Answers, seen: Watched) -> tuple[Answers, Watched]:
        """Read lists of projects that only details tell of, as the poller will where there is no other."""
        detail, strange = answers.detail, dict(answers.histories)
        for _ in range(PROJECTS_BY_DETAILS if is_refused(answers.lists.get(ALL)) else 0):
            told = detail.answer if detail else None
            if detail is None or not isinstance(told, BuildDetail) or told.project_id in {"", *answers.lists}:
                break
            lists = self._lists([told.project_id])
            answers = replace(answers, lists={**answers.lists, **lists})
            seen = watched(self._config, answers)
            strange = {
                job_id: builds
                for job_id, builds in strange.items()
                if job_id not in seen.listed and job_id != detail.job_id
            }
            detail = self._detail(detail_to_ask(strange, seen))
        return answers, seen

    def _list(self, project_id: str) -> ListAnswer:
        """As much of a list as is worth it: all of a watched project, else no more than polls would take."""
        jobs_named = len(self._config.jobs)
        most: int | None = max(LEAST_WORTH, PAGE * jobs_named if project_id else 2 * jobs_named)
        if any(project.id == project_id for project in self._config.projects):
            most = None
        jobs, size, is_whole = self._client.job_list(project_id, max_jobs=most, expected=0)
        return ListAnswer(Listing(project_id, jobs, is_whole), size)

    def _history(self, job_id: str) -> tuple[Build, ...]:
        now = self._now() + (self._client.clock.seconds or 0.0)
        end = datetime.fromtimestamp(now, SERVICE_ZONE).date() + timedelta(days=1)
        return self._client.period_history(job_id, end - timedelta(days=WINDOW_DAYS), end, is_enough=bool)

    def _detail(self, build: tuple[str, int] | None) -> DetailAnswer | None:
        answer = self._try(partial(self._client.record_info, *build)) if build else None
        return DetailAnswer(*build, answer) if build and answer is not None else None

    def _stages(self, detail: DetailAnswer | None) -> tuple[Stage, ...] | ApiError | None:
        told = detail.answer if detail and self._config.metrics.stages else None
        if not isinstance(told, BuildDetail) or not told.record_id:
            return None
        return self._try(partial(self._client.full_stages, told.record_id))

    def _try(self, question: Callable[[], Value]) -> Value | ApiError | None:
        """The answer, or why there is none; None where it is not asked any more."""
        if self._stopped:
            return None
        try:
            answer = self._borne(question)
        except ApiError as error:
            self._note(error)
            return error
        else:
            self._has_answered, self._trouble, self._unanswered = True, 0, 0
            return answer
        finally:
            self._done()

    def _borne(self, question: Callable[[], Value]) -> Value:
        """Ask again what was too much, if that is little to wait for; the throttle does the waiting."""
        while True:
            try:
                return question()
            except ThrottledError as error:
                self._throttled += 1
                if self._throttled >= _THROTTLED or (error.retry_after or 0.0) > _LONGEST_WAIT_S:
                    raise

    def _note(self, error: ApiError) -> None:
        if isinstance(error, NotVisibleError | RejectedError):
            self._has_answered, self._trouble, self._unanswered = True, 0, 0
            return
        self._trouble += 1
        self._unanswered = self._unanswered + 1 if isinstance(error, UnreachableError) else 0
        at_once = isinstance(error, CredentialsError | ThrottledError) or (
            isinstance(error, UnreachableError) and not self._has_answered
        )
        if at_once or self._unanswered >= _UNANSWERED or self._trouble >= _TROUBLE:
            self._stopped = error
