"""Asks the API one request after another, and stops early where the API is in trouble.

A refusal of the credentials ends the examination (the second one where they can be renewed), since five in a
row lock a key. So do throttled requests, and an API that does not answer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from exporter.api.auth import Credentials
from exporter.api.client import ApiClient
from exporter.api.pagination import PAGE_SIZE
from exporter.api.parsers import SERVICE_ZONE
from exporter.config import Config
from exporter.doctor.probe_answers import Answers, DetailAnswer, ListAnswer
from exporter.doctor.probe_plan import (
    PROJECTS_BY_DETAILS,
    detail_to_ask,
    histories_to_ask,
    needs_names,
)
from exporter.doctor.watched_jobs import WatchedJobs, resolve_watched
from exporter.errors import ApiError, CredentialsError, RefusalError, ThrottledError, UnreachableError
from exporter.model import Build, BuildDetail, Stage
from exporter.poller.task_requests import LEAST_WORTH, WINDOW_DAYS
from exporter.poller.tasks_and_results import ALL, Listing

Value = TypeVar("Value")

REFUSALS: Final = 2
"""Refusals of renewable credentials that end the examination."""

_THROTTLED: Final = 3
"""Throttled requests in all that end it."""

_UNANSWERED: Final = 2
_FAILED: Final = 4
"""Requests in a row without any answer, or without a usable one, that end it."""

_LONGEST_WAIT_S: Final = 15.0


def ask(
    config: Config,
    client: ApiClient,
    credentials: Credentials,
    *,
    now: Callable[[], float],
    done: Callable[[], object],
) -> Answers:
    """Send the requests of an examination; for the arguments see `run.examine`."""
    sources = client.sources
    return replace(
        _Examination(config, client, now, done).answers(),
        clock_offset_s=client.clock.seconds,
        expires_at=credentials.expires_at(),
        replaced_by={operation: sources.endpoints[operation].in_use for operation in sources.withdrawn},
    )


@dataclass(slots=True)
class _Examination:
    """The requests of one examination, and the failures so far."""

    _config: Config
    _client: ApiClient
    _now: Callable[[], float]
    _done: Callable[[], object]
    _stopped: ApiError | None = None
    _throttled: int = 0
    _failed: int = 0
    _unanswered: int = 0
    _has_answered: bool = False

    def answers(self) -> Answers:
        """Send all requests, until the API is in trouble."""
        config = self._config
        lists = self._lists(dict.fromkeys((ALL, *(project.id for project in config.projects))))
        plan = resolve_watched(config, Answers(lists=lists)).plan
        lists |= self._lists(project_id for project_id in plan if project_id not in lists)
        recycle_bin = self._try(self._client.recycle_bin) if config.recycle_bin.enabled else None
        answers = Answers(lists=lists, recycle_bin=recycle_bin)
        watched = resolve_watched(config, answers)
        histories = {
            job_id: answer
            for job_id in histories_to_ask(watched, answers)
            if (answer := self._try(partial(self._history, job_id))) is not None
        }
        answers = replace(answers, histories=histories)
        detail = self._detail(detail_to_ask(answers, watched))
        answers = replace(answers, detail=detail, stages=self._stages(detail))
        answers, watched = self._lists_of_details(answers, watched)
        if needs_names(watched, answers):
            answers = replace(answers, names=self._try(self._client.project_names))
        return replace(answers, stopped=self._stopped) if self._has_answered else self._none_valid(answers)

    def _none_valid(self, answers: Answers) -> Answers:
        """Blame the address, or the credentials, alone: all other errors have the same cause."""
        error = self._stopped or answers.lists[ALL]
        return Answers(lists={ALL: error}, stopped=error) if isinstance(error, ApiError) else answers

    def _lists(self, project_ids: Iterable[str]) -> dict[str, ListAnswer | ApiError]:
        return {
            project_id: answer
            for project_id in project_ids
            if (answer := self._try(partial(self._list, project_id))) is not None
        }

    def _lists_of_details(self, answers: Answers, watched: WatchedJobs) -> tuple[Answers, WatchedJobs]:
        """Read lists of projects that only details name, as the poller will without any other list."""
        detail, rest = answers.detail, answers
        for _ in range(PROJECTS_BY_DETAILS if isinstance(answers.lists.get(ALL), RefusalError) else 0):
            build = detail.answer if detail else None
            if not detail or not isinstance(build, BuildDetail) or build.project_id in {"", *answers.lists}:
                break
            answers = replace(answers, lists={**answers.lists, **self._lists([build.project_id])})
            watched = resolve_watched(self._config, answers)
            known = {*watched.listed, detail.job_id}
            histories = {key: builds for key, builds in rest.histories.items() if key not in known}
            rest = replace(rest, histories=histories)
            detail = self._detail(detail_to_ask(rest, watched))
        return answers, watched

    def _list(self, project_id: str) -> ListAnswer:
        """Read a list: all of a watched project, else no more pages than polls would take."""
        jobs = len(self._config.jobs)
        max_jobs: int | None = max(LEAST_WORTH, PAGE_SIZE * jobs if project_id else 2 * jobs)
        if any(project.id == project_id for project in self._config.projects):
            max_jobs = None
        listed, size, is_whole = self._client.job_list(project_id, max_jobs=max_jobs, expected=0)
        return ListAnswer(Listing(project_id, listed, is_whole), size)

    def _history(self, job_id: str) -> tuple[Build, ...]:
        now = self._now() + (self._client.clock.seconds or 0.0)
        end = datetime.fromtimestamp(now, SERVICE_ZONE).date() + timedelta(days=1)
        return self._client.period_history(job_id, end - timedelta(days=WINDOW_DAYS), end, is_enough=bool)

    def _detail(self, build: tuple[str, int] | None) -> DetailAnswer | None:
        answer = self._try(partial(self._client.record_info, *build)) if build else None
        return DetailAnswer(*build, answer) if build and answer is not None else None

    def _stages(self, detail: DetailAnswer | None) -> tuple[Stage, ...] | ApiError | None:
        build = detail.answer if detail and self._config.metrics.stages else None
        if not isinstance(build, BuildDetail) or not build.record_id:
            return None
        return self._try(partial(self._client.full_stages, build.record_id))

    def _try(self, request: Callable[[], Value]) -> Value | ApiError | None:
        """Return the answer or the error; None if the examination has ended."""
        if self._stopped:
            return None
        answer: Value | ApiError
        try:
            answer = self._with_retries(request)
        except ApiError as error:
            answer = error.cause or error  # nothing tries again here
        self._done()
        self._note(answer)
        return answer

    def _with_retries(self, request: Callable[[], Value]) -> Value:
        """Repeat a throttled request unless the wait is long; the client's throttle does the waiting."""
        while True:
            try:
                return request()
            except ThrottledError as error:
                self._throttled += 1
                if self._throttled >= _THROTTLED or (error.retry_after or 0.0) > _LONGEST_WAIT_S:
                    raise

    def _note(self, answer: object) -> None:
        """Count failures in a row, and end the examination after too many."""
        if not isinstance(answer, ApiError) or isinstance(answer, RefusalError):
            self._has_answered, self._failed, self._unanswered = True, 0, 0
            return
        is_unreachable = isinstance(answer, UnreachableError)
        self._failed += 1
        self._unanswered = self._unanswered + 1 if is_unreachable else 0
        at_once = isinstance(answer, CredentialsError | ThrottledError) or (
            is_unreachable and not self._has_answered
        )
        if at_once or self._unanswered >= _UNANSWERED or self._failed >= _FAILED:
            self._stopped = answer
