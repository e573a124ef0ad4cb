"""The only HTTP client of the API: three questions, asked politely, answered with model values.

A request passes the throttle, is signed, sent, and its answer deciphered; what is worth a retry is asked
again with jitter. Everything else comes out as one of the `ApiError` tree.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Final, TypeVar

import requests
from requests.adapters import HTTPAdapter

from exporter import __version__
from exporter.api.answer import decipher
from exporter.api.auth import Credentials
from exporter.api.paging import Pages
from exporter.api.payload import Page, build_detail, history_page, recycle_page
from exporter.api.throttle import Throttle
from exporter.errors import (
    ApiError,
    CredentialsError,
    InvalidAnswerError,
    NotVisibleError,
    PayloadError,
    RejectedError,
    ThrottledError,
    UnreachableError,
)
from exporter.model import Build, BuildDetail, RecycleBin, RecycledJob
from exporter.telemetry import Telemetry

USER_AGENT: Final = f"codearts-build-exporter/{__version__}"
PAGE_SIZE: Final = 100
"""Records a page; the API takes no more."""

_RETRIES: Final = 2
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_ANSWER: Final = 32 * 1024 * 1024
_CHUNK: Final = 64 * 1024

Value = TypeVar("Value")


def new_session(ca_file: str | None = None, connections: int = 8) -> requests.Session:
    """A session that keeps connections, names us, keeps no cookies, and trusts ``ca_file`` if there is one.

    The usual proxy variables (``HTTPS_PROXY``, ``NO_PROXY``, …) hold.
    """
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    session.headers["Accept"] = "application/json"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    if ca_file:
        session.verify = ca_file
    adapter = HTTPAdapter(pool_maxsize=connections, pool_connections=4)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


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
        sleep: waits between retries.
    """

    def __init__(
        self,
        endpoint: str,
        session: requests.Session,
        credentials: Credentials,
        throttle: Throttle,
        telemetry: Telemetry,
        timeout: float,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._session = session
        self._credentials = credentials
        self._throttle = throttle
        self._telemetry = telemetry
        self._timeout = timeout
        self._sleep = sleep
        self.clock_offset_s = 0.0
        """The service's clock minus ours, as the last answer's ``Date`` told it; to the second."""

    def period_history(self, job_id: str, start: date, end: date) -> tuple[Build, ...]:
        """The builds of a job that period-history shows for those days (UTC+8, at most 30 apart).

        Each record comes once for each page it was on; order and completeness are the service's.

        Raises:
            ApiError: any page could not be had.
        """
        pages: Pages[Build] = Pages(PAGE_SIZE, key=lambda build: build.number)
        while pages.more:
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
        return RecycleBin(retention_ms, {job.id: job for job in pages.records})

    def _page(self, operation: str, page: Page[Value]) -> Page[Value]:
        self._count_faults(operation, page.faults)
        return page

    def _count_faults(self, operation: str, faults: tuple[str, ...]) -> None:
        for reason in faults:
            self._telemetry.payload_fault(operation, reason)

    def _get(
        self, operation: str, path: str, query: Mapping[str, object], read: Callable[[object], Value]
    ) -> Value:
        """Ask, and ask again what is worth it; the last error stands."""
        renewed = False
        for attempt in range(_RETRIES + 1):
            self._throttle.acquire()
            prepared = self._signed(path, query)
            try:
                return self._ask_once(operation, prepared, read)
            except CredentialsError:
                if not self._credentials.refused(prepared) or renewed:
                    raise
                renewed = True
            except ThrottledError as error:
                self._throttle.throttled(error)
                raise
            except ApiError as error:
                if not error.retryable or attempt == _RETRIES:
                    raise
                self._sleep(error.retry_after or random.uniform(0, _FIRST_PAUSE_S * 2**attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _signed(self, path: str, query: Mapping[str, object]) -> requests.PreparedRequest:
        request = requests.Request("GET", self._endpoint + path, params=query, auth=self._credentials)
        try:
            return self._session.prepare_request(request)
        except ApiError:
            self._telemetry.up.set(0)
            raise

    def _ask_once(
        self, operation: str, prepared: requests.PreparedRequest, read: Callable[[object], Value]
    ) -> Value:
        """One request, counted by what it came to."""
        began = time.monotonic()
        code = "invalid"
        try:
            answer = self._exchange(prepared)
            code = str(answer.status)
            value = read(decipher(answer.status, answer.headers, answer.body))
        except PayloadError as error:
            code = "invalid"
            self._telemetry.payload_fault(operation, error.reason)
            self._telemetry.up.set(0)
            raise InvalidAnswerError(str(error), code=code) from error
        except ApiError as error:
            code = error.code
            self._note(operation, error)
            raise
        else:
            self._credentials.accepted()
            self._telemetry.up.set(1)
            return value
        finally:
            self._telemetry.requests.labels(operation, code).inc()
            self._telemetry.request_duration.labels(operation).observe(time.monotonic() - began)

    def _note(self, operation: str, error: ApiError) -> None:
        if isinstance(error, ThrottledError):
            self._telemetry.throttled.labels(operation).inc()
        elif isinstance(error, NotVisibleError | RejectedError):
            self._credentials.accepted()
            self._telemetry.up.set(1)
        else:
            self._telemetry.up.set(0)
        if isinstance(error, InvalidAnswerError):
            self._telemetry.payload_fault(operation, "invalid_answer")

    def _exchange(self, prepared: requests.PreparedRequest) -> _Answer:
        """Send a request and read all of its answer.

        Raises:
            UnreachableError: no whole answer came.
            InvalidAnswerError: it is larger than any answer should be.
        """
        settings = self._session.merge_environment_settings(
            prepared.url, {}, True, self._session.verify, None
        )
        deadline = time.monotonic() + 3 * self._timeout
        try:
            with self._session.send(
                prepared, timeout=self._timeout, allow_redirects=False, **settings
            ) as response:
                body = b"".join(_limited(response.iter_content(_CHUNK), deadline))
        except requests.Timeout as error:
            raise UnreachableError(_brief(error), code="timeout") from None
        except requests.RequestException as error:
            raise UnreachableError(_brief(error), code="connection") from None
        self._compare_clocks(response.headers.get("Date"))
        return _Answer(response.status_code, response.headers, body)

    def _compare_clocks(self, told: str | None) -> None:
        try:
            self.clock_offset_s = parsedate_to_datetime(told or "").timestamp() - time.time()
        except (ValueError, OverflowError):
            return


def _limited(chunks: Iterator[bytes], deadline: float) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > _LONGEST_ANSWER:
            raise InvalidAnswerError("an answer of more than 32 MiB", code="invalid")
        if time.monotonic() > deadline:
            raise UnreachableError("the answer came too slowly", code="timeout")
        yield chunk


def _brief(error: Exception) -> str:
    """What went wrong in a line, without the URL's query or the object addresses of urllib3."""
    innermost: BaseException = error
    while innermost.__cause__ or innermost.__context__:
        innermost = innermost.__cause__ or innermost.__context__ or innermost
    return f"{type(error).__name__}: {innermost}".split("\n", maxsplit=1)[0][:200]
