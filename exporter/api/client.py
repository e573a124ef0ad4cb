"""The only HTTP client of the API: a few questions, asked politely, answered with model values.

A request passes the throttle, is signed, sent, and its answer deciphered; what is worth a retry is asked
again with jitter. Everything else comes out as one of the `ApiError` tree.
"""

import copy
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import requests

from exporter.api.auth import Credentials
from exporter.api.clock import ClockOffset
from exporter.api.http import Answer, exchange, new_session, prepare
from exporter.api.pagination import Pages
from exporter.api.parsers import Page, build_detail, history_page, job_list_page, project_page, recycle_page
from exporter.api.request_queue import Throttle
from exporter.api.responses import decipher
from exporter.api.stages import build_stages
from exporter.errors import (
    ApiError,
    CalledOffError,
    CredentialsError,
    InvalidAnswerError,
    NotVisibleError,
    PayloadError,
    RejectedError,
    ThrottledError,
    UnreachableError,
)
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Build, BuildDetail, ListedJob, RecycleBin, RecycledJob, Stage
from exporter.redaction import redact_json

__all__ = ["PAGE_SIZE", "ApiClient", "new_session"]

PAGE_SIZE: Final = 100
"""Records a page; the API takes no more."""

_RETRIES: Final = 2
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
"""A service that asks for more patience than this is asked again by the next poll."""

Value = TypeVar("Value")


class ApiClient:
    """Asks CodeArts Build; safe to share between threads.

    Args:
        endpoint: ``https://host[:port]`` of the service.
        session: from `new_session`.
        credentials: sign each request.
        throttle: is asked before each request.
        telemetry: counts each request and each fault.
        timeout: seconds to connect, and between two pieces of an answer; a whole answer may take three times
            as long.
        sleep: waits between retries; by default until `close` at the latest.
        wall: our clock, seconds since the epoch, which the service's is compared with.
        holds_operations: a 401 of one operation alone holds back that operation; otherwise it refuses the
            credentials, as any other does, which suits who would rather stop and go on later.
    """

    def __init__(
        self,
        endpoint: str,
        session: requests.Session,
        credentials: Credentials,
        throttle: Throttle,
        telemetry: Telemetry,
        timeout: float,
        sleep: Callable[[float], object] | None = None,
        wall: Callable[[], float] = time.time,
        holds_operations: bool = True,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._session = session
        self._credentials = credentials
        self._throttle = throttle
        self._telemetry = telemetry
        self._timeout = timeout
        self._sleep = sleep
        self._wall = wall
        self._holds_operations = holds_operations
        self._closed = threading.Event()
        self.clock = ClockOffset()

    @property
    def clock_offset_s(self) -> float | None:
        """The service's clock minus ours, as the ``Date`` of its last answers told it; to the second."""
        return self.clock.seconds

    def close(self) -> None:
        """Send nothing more: who waits for a turn, or asks from now on, gets a `CalledOffError`."""
        self._closed.set()
        self._throttle.rouse()

    def reopened(self) -> "ApiClient":
        """One that goes on with all that this one has; who asks by this one stays called off."""
        other = copy.copy(self)
        other._closed = threading.Event()
        return other

    def period_history(
        self,
        job_id: str,
        start: date,
        end: date,
        enough: Callable[[Sequence[Build]], bool] | None = None,
        tell_faults: Callable[[Sequence[str]], object] | None = None,
    ) -> tuple[Build, ...]:
        """The builds of a job that period-history shows for those days (UTC+8, at most 30 apart).

        Each record comes once for each page it was on; order and completeness are the service's. Paging stops
        early where the records so far are ``enough``. ``tell_faults`` takes the words of each page for what
        could not be read.

        Raises:
            ApiError: any page could not be had.
        """
        pages: Pages[Build] = Pages(PAGE_SIZE, key=lambda build: build.number)
        while pages.more and not (enough and pages.records and enough(pages.records)):
            answer = self._get(
                "period-history",
                f"/v3/jobs/{job_id}/period-history",
                {
                    "offset": pages.offset,
                    "limit": PAGE_SIZE,
                    "start_time": start.isoformat(),
                    "end_time": end.isoformat(),
                },
                lambda value: history_page(value, job_id),
            )
            pages.add(self._page("period-history", answer))
            self._count_cut("period-history", pages)
            if tell_faults:
                tell_faults(answer.faults)
        return tuple(pages.records)

    def record_info(self, job_id: str, number: int) -> BuildDetail:
        """One build in detail.

        Raises:
            ApiError: it could not be had; `NotVisibleError` where it never will.
        """
        detail, faults = self._get(
            "record-info",
            f"/v4/jobs/{job_id}/{number}/record-info",
            {},
            lambda value: build_detail(value, job_id, number),
        )
        self._count_faults("record-info", faults)
        return detail

    def full_stages(self, record_id: str) -> tuple[Stage, ...]:
        """The stages of one build, as far as they ran; in order.

        Raises:
            ApiError: they could not be had; `NotVisibleError` where they never will.
        """
        stages, faults = self._get("full-stages", f"/v1/record/{record_id}/full-stages", {}, build_stages)
        self._count_faults("full-stages", faults)
        return stages

    def recycle_bin(self) -> RecycleBin:
        """All deleted jobs that can still be restored.

        Raises:
            ApiError: any page could not be had.
        """
        pages: Pages[RecycledJob] = Pages(PAGE_SIZE, key=lambda job: job.id)
        retention_ms: int | None = None
        while pages.more:
            page, kept_ms = self._get(
                "recycling-jobs",
                "/v1/job/recycling-jobs",
                {"page_size": PAGE_SIZE, "page_no": pages.index + 1},
                recycle_page,
            )
            retention_ms = kept_ms if retention_ms is None else retention_ms
            pages.add(self._page("recycling-jobs", page))
            self._count_cut("recycling-jobs", pages)
        return RecycleBin(retention_ms, {job.id: job for job in pages.records})

    def job_list(
        self, project_id: str, *, most: int | None, expected: int
    ) -> tuple[Mapping[str, ListedJob], int, bool]:
        """The jobs of a project, or with ``""`` of all that the credentials see.

        Args:
            project_id: a CodeArts project's id, or ``""``.
            most: a longer list is not worth its pages: only the first is read.
            expected: how long it was before; a total that is not below this is believed.

        Returns:
            The jobs by id, how many the service says there are, and whether these are all.

        Raises:
            ApiError: any page could not be had.
        """
        operation = "project-job-list" if project_id else "job-list"
        path = f"/v1/job/{project_id}/list" if project_id else "/v1/job/list"
        pages: Pages[ListedJob] = Pages(PAGE_SIZE, key=lambda job: job.id, believes_total_from=expected)
        size, is_whole = 0, True
        while pages.more and is_whole:
            page = self._get(
                operation,
                path,
                {"page_index": pages.index, "page_size": PAGE_SIZE},
                lambda value: job_list_page(value, project_id),
            )
            pages.add(self._page(operation, page))
            self._count_cut(operation, pages)
            size = max(size, page.total or 0)
            is_whole = not pages.is_cut and (most is None or size <= most or not pages.more)
        jobs = {job.id: job for job in pages.records}
        return jobs, max(size, len(jobs)), is_whole

    def project_names(self) -> Mapping[str, str]:
        """Names of the CodeArts projects that the credentials see, by id.

        Raises:
            ApiError: any page could not be had.
        """
        pages: Pages[tuple[str, str]] = Pages(
            PAGE_SIZE, key=lambda project: project[0], believes_total_from=0
        )
        while pages.more:
            page = self._get(
                "projects",
                "/v1/domain/project/related-page",
                {"page_no": pages.index + 1, "page_size": PAGE_SIZE},
                project_page,
            )
            pages.add(self._page("projects", page))
            self._count_cut("projects", pages)
        return dict(pages.records)

    def _page(self, operation: str, page: Page[Value]) -> Page[Value]:
        self._count_faults(operation, page.faults)
        return page

    def _count_cut(self, operation: str, pages: Pages[Value]) -> None:
        if pages.is_cut:
            self._telemetry.payload_fault(operation, "too_many_pages")

    def _count_faults(self, operation: str, faults: tuple[str, ...]) -> None:
        for reason in faults:
            self._telemetry.payload_fault(operation, reason)

    def _get(
        self, operation: str, path: str, query: Mapping[str, object], read: Callable[[object], Value]
    ) -> Value:
        """Ask, and ask again what is worth it; the last error stands."""
        attempt = 0
        renewed = alone = False
        operations = self._credentials.operations
        while True:
            operations.check(operation)
            if not self._throttle.acquire(operation, self._closed.is_set):
                raise CalledOffError(f"{operation}: called off")
            prepared = self._signed(path, query)
            try:
                return self._ask_once(operation, prepared, read)
            except CredentialsError as error:
                alone = alone or (self._holds_operations and operations.is_alone(operation))
                if self._credentials.refused(prepared, alone=alone) and not renewed:
                    renewed = True
                    continue
                if not alone:
                    raise
                self._telemetry.api_refused()
                raise operations.hold(operation, error) from None
            except ThrottledError as error:
                self._throttle.throttled(error)
                raise
            except ApiError as error:
                pause = _pause(error, attempt)
                if pause is None:
                    raise
                attempt += 1
                (self._sleep or self._closed.wait)(pause)

    def _signed(self, path: str, query: Mapping[str, object]) -> requests.PreparedRequest:
        request = requests.Request("GET", self._endpoint + path, params=query, auth=self._credentials)
        try:
            return prepare(self._session, request)
        except ApiError as error:
            self._telemetry.api_failed(error.brief, error.code)
            raise

    def _ask_once(
        self, operation: str, prepared: requests.PreparedRequest, read: Callable[[object], Value]
    ) -> Value:
        """One request, counted by what it came to."""
        began = time.monotonic()
        code = "invalid"
        try:
            answer = exchange(self._session, prepared, timeout=self._timeout, wall=self._wall)
            code = str(answer.status)
            value = self._deciphered(answer, read)
        except PayloadError as error:
            code = "invalid"
            self._throttle.accepted()
            self._telemetry.payload_fault(operation, error.reason)
            self._telemetry.api_failed(InvalidAnswerError.brief)
            raise InvalidAnswerError(str(error), code=code) from error
        except ApiError as error:
            code = error.code
            self._note(operation, error)
            raise
        else:
            self._throttle.accepted()
            self._accepted(operation)
            self._telemetry.up.set(1)
            return value
        finally:
            self._telemetry.requests.labels(operation, code).inc()
            self._telemetry.request_duration.labels(operation).observe(time.monotonic() - began)

    def _deciphered(self, answer: Answer, read: Callable[[object], Value]) -> Value:
        """What an answer says; its clock is the service's if it can be read, or has a code of the service."""
        try:
            value = read(decipher(answer.status, answer.headers, redact_json(answer.body)))
        except ApiError as error:
            if error.error_code:
                self._compare_clocks(answer)
            raise
        self._compare_clocks(answer)
        return value

    def _note(self, operation: str, error: ApiError) -> None:
        if isinstance(error, ThrottledError):
            self._telemetry.throttled.labels(operation).inc()
            return
        if not isinstance(error, UnreachableError):
            self._throttle.accepted()
        if isinstance(error, NotVisibleError | RejectedError):
            self._accepted(operation)
            self._telemetry.api_refused()
        else:
            self._telemetry.api_failed(error.brief, error.code)
        if isinstance(error, InvalidAnswerError):
            self._telemetry.payload_fault(operation, "invalid_answer")

    def _accepted(self, operation: str) -> None:
        """An answer shows that the credentials are good."""
        self._credentials.accepted()
        self._credentials.operations.accepted(operation)

    def _compare_clocks(self, answer: Answer) -> None:
        try:
            told = parsedate_to_datetime(answer.headers.get("Date", ""))
            theirs = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        self.clock.tell(theirs - answer.came_at)
        self._telemetry.clock_offset.set(self.clock.seconds or 0.0)


def _pause(error: ApiError, attempt: int) -> float | None:
    """Seconds until the next try, the first attempt being 0; None where there is to be none."""
    asked = error.retry_after or 0.0
    if not error.retryable or attempt >= _RETRIES or asked > _LONGEST_PAUSE_S:
        return None
    return max(asked, random.uniform(0, _FIRST_PAUSE_S * 2**attempt))
