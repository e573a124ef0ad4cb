"""Requests and responses as values, and the log of both."""

import json
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

GATEWAY_PAGE = (
    "<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {reason}</h1></center>\r\n<hr><center>api-gateway</center>\r\n"
    "</body>\r\n</html>\r\n"
)

CAPACITY = 20_000


Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """A request; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """Query parameters; the last one of a name wins."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(slots=True)
class Response:
    """A response, and how it is sent.

    Attributes:
        keep: share of the body that is sent before the connection breaks; None for all of it.
        reset: break with a RST rather than an orderly end.
        delay_s: pause before the first byte.
        bytes_per_second: speed of the body; None for no limit.
        date_skew_s: how far the ``Date`` header is ahead.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json;charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)
    keep: float | None = None
    reset: bool = False
    delay_s: float = 0.0
    bytes_per_second: float | None = None
    date_skew_s: float = 0.0


class RefusalError(Exception):
    """Ends the handling of a request with an error response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(value: object, status: int = 200) -> Response:
    """A response with a JSON document."""
    return Response(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def error_response(status: int, code: str, message: str, shape: str = "error_code") -> Response:
    """An error in one of the shapes that have been seen.

    Raises:
        ValueError: there is no such shape.
    """
    shapes: dict[str, object] = {
        "error_code": {"error_code": code, "error_msg": message},
        "fail": {"status": "fail", "error": {"code": code, "message": message}, "result": None},
        "status": {"status": "error", "error": {"code": code, "message": message}},
        "success": {"success": False, "err_code": code, "message": message, "result": None},
        "camel": {"errorCode": code, "errorMsg": message},
        "iam": {"error": {"code": status, "message": message, "title": HTTPStatus(status).phrase}},
    }
    shapes["string"] = json.dumps(shapes["error_code"])
    if shape not in shapes:
        raise ValueError(f"unknown error shape {shape!r}; known: {', '.join(sorted(shapes))}")
    return json_response(shapes[shape], status)


def refusal(status: int, code: str, message: str) -> RefusalError:
    """An exception for an error in the documented shape."""
    return RefusalError(error_response(status, code, message))


def html_response(status: int) -> Response:
    """The gateway's own error page."""
    page = GATEWAY_PAGE.format(status=status, reason=HTTPStatus(status).phrase)
    return Response(status, page.encode(), "text/html")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response; ``status`` is what was sent, even if the connection then broke."""

    at_ms: int
    operation: str
    job: str | None
    method: str
    target: str
    status: int


class RequestLog:
    """The last exchanges, and counts of all. Safe to use from several threads."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=CAPACITY)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def add(self, exchange: Exchange) -> None:
        """Add an exchange."""
        with self._lock:
            self._exchanges.append(exchange)
            self._counts[exchange.operation, exchange.status] += 1

    def exchanges(self) -> list[Exchange]:
        """The last exchanges, oldest first."""
        with self._lock:
            return list(self._exchanges)

    def counts(self) -> Counter[tuple[str, int]]:
        """Number of exchanges by operation and status."""
        with self._lock:
            return Counter(self._counts)

    def reset(self) -> None:
        """Forget all exchanges."""
        with self._lock:
            self._exchanges.clear()
            self._counts.clear()
