"""Exceptions raised by this program.

::

    ExporterError
    ├── ConfigError               the configuration, or a file it names, is invalid
    ├── StoreError                ledgers could not be read or written
    │   └── UnreadableRowsError   some rows of the store are no ledgers that this version reads
    ├── BackfillError             build history could not be kept, written or sent
    ├── PayloadError              a response, or one record in it, has no readable shape
    ├── RequestCancelledError     request cancelled before sending (reload or shutdown)
    └── ApiError                  an API request failed
        ├── CredentialsError      refused: 401, a wrong password, a locked key
        ├── ThrottledError        too many requests
        ├── RefusalError          the service refuses this request; a retry changes nothing
        │   ├── NotVisibleError   no such job or build, or not for these credentials
        │   └── RejectedError     the request itself is invalid
        ├── NotPublishedError     the gateway does not know the API: wrong endpoint or region, or withdrawn
        ├── BackendError          the service failed; worth a retry
        ├── UnreachableError      timeout, refused or broken connection; worth a retry
        └── InvalidResponseError  an HTML page, truncated JSON, an undocumented shape; worth a retry
"""

import copy
from collections.abc import Mapping
from dataclasses import KW_ONLY, InitVar, dataclass
from enum import StrEnum
from typing import Final, Self

NO_THREADS: Final = "cannot start more threads; raise the process limit (ulimit -u, TasksMax, pids.max)"


class ExporterError(Exception):
    """Root of the tree; ``str()`` is a line for the user, of a `ConfigError` one line for each problem."""


class ConfigError(ExporterError):
    """The configuration is invalid; the text names file, line, key and what would be valid."""


class StoreError(ExporterError):
    """Ledgers could not be read or written; earlier commits stand."""


class UnreadableRowsError(StoreError):
    """Some rows are damaged, or of a newer version; they stay as they are.

    Args:
        store: path or kind of the store.
        reasons: why a row cannot be read, by job id; at least one.
    """

    def __init__(self, store: str, reasons: Mapping[str, str]) -> None:
        job_id, reason = next(iter(reasons.items()))
        others = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"{store}: the ledger of job {job_id}: {reason}{others}")
        self.job_ids = frozenset(reasons)


class BackfillError(ExporterError):
    """Build history could not be kept, written or sent; what was kept before stands."""


class PayloadError(ExporterError):
    """A response, or one record in it, is unreadable; ``reason`` is a label of ``payload_errors_total``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RequestCancelledError(ExporterError):
    """Request cancelled before sending (reload or shutdown); not a failure."""


class Obstacle(StrEnum):
    """Reason why no response arrived."""

    UNKNOWN_HOST = "unknown_host"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNTRUSTED = "untrusted"
    TLS = "tls"
    PROXY = "proxy"
    PROXY_REFUSED = "proxy_refused"
    SETTING = "setting"
    BROKEN = "broken"


@dataclass(eq=False, repr=False)
class ApiError(ExporterError):
    """An API request failed.

    Attributes:
        status: the HTTP status, 0 without a response.
        code: the HTTP status, or ``timeout``, ``connection``, ``invalid``: a label of ``api_requests_total``.
        error_code: the service's own code, as ``CB.00031059``.
        retry_after: seconds the service asked to wait.
        limit_per_minute: the limit named in a throttled response.
        obstacle: reason of an `UnreachableError`.
        address_key: the configuration key of the requested address.
        is_pause: not sent, since an earlier request got this answer; the next one may get another soon.
        brief: the kind of error in two or three words.
        cause: the same error, without the time of the next attempt that the text ends with.
    """

    retryable = False
    brief = "error"

    message: InitVar[str]
    _: KW_ONLY
    status: int = 0
    code: str = ""
    error_code: str = ""
    retry_after: float | None = None
    limit_per_minute: float | None = None
    obstacle: Obstacle = Obstacle.BROKEN
    address_key: str = "endpoint"
    is_pause: bool = False
    cause: "ApiError | None" = None

    def reworded(self, message: str, retry_after: float | None = None) -> Self:
        """Copy the error with another text, without its traceback."""
        other = copy.copy(self)
        other.args = (message,)
        other.retry_after = retry_after
        return other


class CredentialsError(ApiError):
    """The credentials were refused; an immediate retry could lock the key."""

    brief = "credentials refused"


class ThrottledError(ApiError):
    """Too many requests."""


class RefusalError(ApiError):
    """The service itself refuses this request, always with an error code of its own."""


class NotVisibleError(RefusalError):
    """No such job or build, its history is deleted, or these credentials may not see it."""


class NotPublishedError(ApiError):
    """The gateway does not know the API (APIGW.0101): wrong endpoint or region, or it was withdrawn."""

    brief = "API not published"


class RejectedError(RefusalError):
    """The service finds the request itself invalid."""


class BackendError(ApiError):
    """The service failed."""

    brief = "service error"
    retryable = True


class UnreachableError(ApiError):
    """No response arrived: a timeout, or a refused or broken connection."""

    brief = "unreachable"
    retryable = True


class InvalidResponseError(ApiError):
    """The response is not what any document describes."""

    brief = "invalid response"
    retryable = True
