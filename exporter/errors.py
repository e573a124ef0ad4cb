"""Everything this program raises on purpose.

::

    ExporterError
    ├── ConfigError           the configuration, or a file it names, is wrong
    ├── StoreError            ledgers could not be read or written
    ├── BackfillError         what was brought back could not be kept, written or sent
    ├── PayloadError          an answer, or one record in it, has no readable shape
    ├── CalledOffError        a request was not sent, since nobody wants its answer any more
    └── ApiError              what a request to the API can come to, other than a value
        ├── CredentialsError  refused: 401, a wrong password, a locked key
        ├── ThrottledError    "too many requests"
        ├── NotVisibleError   no such job or build, or not for these credentials
        ├── NotPublishedError the gateway knows no such API: wrong endpoint or region, or withdrawn
        ├── RejectedError     the request itself is wrong; asking again changes nothing
        ├── BackendError      the service is in trouble; worth asking again
        ├── UnreachableError  time-out, refused or broken connection; worth asking again
        └── InvalidAnswerError  an HTML page, truncated JSON, a shape nobody documented

Whatever is left of them ends in one of two places: per job in the poller (count, keep the last state, go on)
and in the command line (one line for a person, an exit code).
"""

from enum import StrEnum
from typing import Final, Self

NO_THREADS: Final = (
    "no more threads can be started; raise the limit of processes (ulimit -u, TasksMax, pids.max)"
)


class ExporterError(Exception):
    """Root of the tree; ``str()`` is a line for a person, of a `ConfigError` one for each problem."""


class ConfigError(ExporterError):
    """The configuration is wrong; the text names file, line, key and what would be right."""


class StoreError(ExporterError):
    """Ledgers could not be read or written; what was committed before stands."""


class BackfillError(ExporterError):
    """The past could not be kept, written or sent; what was kept before stands."""


class PayloadError(ExporterError):
    """An answer, or one record in it, cannot be read.

    Attributes:
        reason: a short snake_case word for the label of ``payload_errors_total``.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CalledOffError(ExporterError):
    """A request was not sent, since nobody wants its answer any more; nothing is wrong."""


class ApiError(ExporterError):
    """A request came to something other than a value.

    Attributes:
        code: the HTTP status, or ``timeout``, ``connection``, ``invalid``: the label of
            ``api_requests_total``.
        error_code: the service's own code, as ``CB.00031059``; empty where it gave none.
        retry_after: seconds the service asked to wait; None where it did not say.
        address_key: the key of the configuration that names the address which was asked.
        brief: what it is, in two words or three.
    """

    retryable = False
    brief = "error"

    def __init__(
        self, message: str, *, code: str = "", error_code: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.error_code = error_code
        self.retry_after = retry_after
        self.address_key = "endpoint"

    def of(self, address_key: str) -> Self:
        """The same, come from the address that another key names."""
        self.address_key = address_key
        return self


class CredentialsError(ApiError):
    """The credentials were refused; asking again at once could lock the key."""

    brief = "credentials refused"


class ThrottledError(ApiError):
    """Too many requests.

    Attributes:
        limit_per_minute: the limit named in the gateway's message; None where it named none.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        error_code: str = "",
        retry_after: float | None = None,
        limit_per_minute: float | None = None,
    ) -> None:
        super().__init__(message, code=code, error_code=error_code, retry_after=retry_after)
        self.limit_per_minute = limit_per_minute


class NotVisibleError(ApiError):
    """No such job or build, its history is deleted, or these credentials may not see it."""


class NotPublishedError(ApiError):
    """The gateway knows no such API (APIGW.0101): wrong endpoint or region, or the API was withdrawn."""

    brief = "API not published"


class RejectedError(ApiError):
    """The service finds the request itself wrong."""


class BackendError(ApiError):
    """The service is in trouble."""

    brief = "service in trouble"

    retryable = True


class Obstacle(StrEnum):
    """What kept an answer from coming."""

    UNKNOWN_HOST = "unknown_host"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNTRUSTED = "untrusted"
    TLS = "tls"
    PROXY = "proxy"
    SETTING = "setting"
    BROKEN = "broken"


class UnreachableError(ApiError):
    """No answer came: a time-out, or a refused or broken connection.

    Attributes:
        obstacle: why, as far as this machine can tell.
    """

    brief = "not reachable"

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        error_code: str = "",
        retry_after: float | None = None,
        obstacle: Obstacle = Obstacle.BROKEN,
    ) -> None:
        super().__init__(message, code=code, error_code=error_code, retry_after=retry_after)
        self.obstacle = obstacle


class InvalidAnswerError(ApiError):
    """The answer is not what any document describes."""

    brief = "invalid answer"

    retryable = True
