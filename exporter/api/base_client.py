"""Requests to the API: each waits for its turn, is signed and sent, and its response is parsed.

Retryable errors are retried with jitter. Every failure is an `ApiError`.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

import requests

from exporter.api.auth import Credentials
from exporter.api.clock_offset import ClockOffset
from exporter.api.endpoint_fallback import Sources
from exporter.api.http import Response, exchange, prepare
from exporter.api.pagination import PAGE_SIZE, Pages
from exporter.api.parsers import Page
from exporter.api.response_errors import parse_response
from exporter.api.throttle import Throttle
from exporter.errors import (
    ApiError,
    CredentialsError,
    InvalidResponseError,
    PayloadError,
    RefusalError,
    RequestCancelledError,
    ThrottledError,
    UnreachableError,
)
from exporter.metrics.exporter_metrics import Telemetry
from exporter.redaction import redact_json

_MAX_RETRIES: Final = 2
_FIRST_PAUSE_S: Final = 0.5
_MAX_PAUSE_S: Final = 10.0
"""After a longer ``Retry-After`` there is no retry; the next poll asks again."""

Value = TypeVar("Value")


@dataclass(eq=False, repr=False)
class BaseClient:
    """Sends requests for the endpoints of `ApiClient`; safe to share between threads.

    Methods that send requests raise an `ApiError` on failure (a `NotVisibleError` is permanent), and a
    `RequestCancelledError` after `close`.

    Attributes:
        timeout: seconds to connect, and between two pieces of a response; a whole response may take three
            times as long.
        sleep: waits between retries; by default until `close` at the latest.
        clock: the service's clock, from its answers.
        isolates_operations: a 401 of one operation alone pauses only that operation, instead of counting as
            refused credentials.
    """

    endpoint: str
    session: requests.Session
    credentials: Credentials
    throttle: Throttle
    telemetry: Telemetry
    timeout: float
    sleep: Callable[[float], object] | None = None
    isolates_operations: bool = True
    clock: ClockOffset = field(default_factory=lambda: ClockOffset(time.time, _uptime))
    sources: Sources = field(default_factory=Sources)
    _closed: threading.Event = field(default_factory=threading.Event, init=False)

    def close(self) -> None:
        """Cancel waiting and future requests with a `RequestCancelledError`."""
        self._closed.set()
        self.throttle.wake()

    def reopened(self) -> Self:
        """Return an open client with the same state; requests through the closed one stay cancelled."""
        return replace(self)

    def wait_s(self, operation: str) -> float:
        """Return the seconds that a request of a side operation would have to wait now."""
        return self.throttle.wait_s(operation)

    def _read_pages(
        self,
        operation: str,
        path: str,
        parse: Callable[[object], Page[Value]],
        pages: Pages[Value],
        position: str,
        dates: Mapping[str, str] | None = None,
    ) -> Iterator[Page[Value]]:
        """Request pages until the listing is complete; ``position`` is the parameter that numbers them."""
        size = "limit" if position in ("offset", "page") else "page_size"
        while pages.more:
            index, offset = pages.index, pages.offset
            positions = {"offset": offset, "page": offset, "page_index": index, "page_no": index + 1}
            query = {position: positions[position], size: PAGE_SIZE, **(dates or {})}
            page = self._get(operation, path, query, parse)
            pages.add(page)
            self._count_faults(operation, (*page.faults, *(["too_many_pages"] if pages.is_cut else [])))
            yield page

    def _count_faults(self, operation: str, faults: Sequence[str]) -> None:
        for reason in faults:
            self.telemetry.payload_fault(operation, reason)

    def _get(
        self, operation: str, path: str, query: Mapping[str, object], parse: Callable[[object], Value]
    ) -> Value:
        """Send a request and retry it as often as worthwhile; the last error is raised."""
        attempt = 0
        is_renewed = operation_only = False
        operations = self.credentials.operations
        while True:
            operations.before_request(operation)
            if not self.throttle.acquire(operation, self._closed.is_set):
                raise RequestCancelledError(f"{operation}: request cancelled")
            prepared = self._signed(path, query)
            try:
                return self._send_once(operation, prepared, parse)
            except CredentialsError as error:
                operation_only = operation_only or (
                    self.isolates_operations and operations.concerns_operation_only(operation)
                )
                if self.credentials.refused(prepared, operation_only=operation_only) and not is_renewed:
                    is_renewed = True
                    continue
                if not operation_only:
                    raise
                self.telemetry.api_refused(str(error))
                raise operations.pause(operation, error) from None
            except ThrottledError as error:
                self.throttle.throttled(operation, error)
                raise
            except ApiError as error:
                pause_s = _pause_s(error, attempt)
                if pause_s is None:
                    raise
                attempt += 1
                (self.sleep or self._closed.wait)(pause_s)

    def _signed(self, path: str, query: Mapping[str, object]) -> requests.PreparedRequest:
        url = self.endpoint.rstrip("/") + path
        # Signatures cover a space as %20, never as the plus sign of forms.
        request = requests.Request(
            "GET", url, params=urlencode(query, quote_via=quote), auth=self.credentials
        )
        try:
            return prepare(self.session, request)
        except ApiError as error:
            self.telemetry.api_failed(error.brief, error.code, str(error))
            raise

    def _send_once(
        self, operation: str, prepared: requests.PreparedRequest, parse: Callable[[object], Value]
    ) -> Value:
        """Send one request and count it by its outcome."""
        started = time.monotonic()
        code = "invalid"
        try:
            response = exchange(self.session, prepared, timeout=self.timeout, clock=self.clock.monotonic)
            code = str(response.status)
            value = self._parsed(response, parse)
        except ApiError as error:
            code = error.code
            self._record_error(operation, error)
            raise
        finally:
            self.telemetry.requests.labels(operation, code).inc()
            self.telemetry.request_duration.labels(operation).observe(time.monotonic() - started)
        self.throttle.accepted(operation)
        self.credentials.accepted(operation)
        self.sources.has_answered = True
        self.telemetry.up.set(1)
        return value

    def _parsed(self, response: Response, parse: Callable[[object], Value]) -> Value:
        """Parse a response; only the ``Date`` of one that is the service's own is compared with our clock."""
        try:
            value = parse(parse_response(response.status, response.headers, redact_json(response.body)))
        except PayloadError as error:
            raise InvalidResponseError(str(error), code="invalid") from error
        except ApiError as error:
            if error.error_code:
                self._compare_clocks(response)
            raise
        self._compare_clocks(response)
        return value

    def _record_error(self, operation: str, error: ApiError) -> None:
        if isinstance(error, ThrottledError):
            self.telemetry.throttled.labels(operation).inc()
            return
        if not isinstance(error, UnreachableError):
            self.throttle.accepted(operation)
        if isinstance(error, RefusalError):
            self.credentials.accepted(operation)
            self.sources.has_answered = True  # only the service itself refuses
            self.telemetry.api_refused(str(error))
        else:
            self.telemetry.api_failed(error.brief, error.code, str(error))
        if isinstance(error, InvalidResponseError):
            fault = error.__cause__
            reason = fault.reason if isinstance(fault, PayloadError) else "invalid_answer"
            self.telemetry.payload_fault(operation, reason)

    def _compare_clocks(self, response: Response) -> None:
        try:
            sent_at = parsedate_to_datetime(response.headers.get("Date", ""))
            service_s = sent_at.replace(tzinfo=sent_at.tzinfo or UTC).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        self.clock.add(service_s, response.received_at)
        self.telemetry.clock_offset.set(self.clock.seconds or 0.0)


def _uptime() -> float:
    """Return seconds that no setting of a clock changes; on Linux they go on while the machine sleeps."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def _pause_s(error: ApiError, attempt: int) -> float | None:
    """Return the seconds before the next attempt, the first one being 0; None for no retry."""
    retry_after = error.retry_after or 0.0
    if not error.retryable or attempt >= _MAX_RETRIES or retry_after > _MAX_PAUSE_S:
        return None
    return max(retry_after, random.uniform(0, _FIRST_PAUSE_S * 2**attempt))
