"""Meaning of API responses: status, headers and body → a JSON value or an `ApiError`. Pure.

The service's status and body disagree at times: a failure inside HTTP 200, JSON inside a JSON string, an HTML
page from a gateway. The service's own error code takes precedence over the HTTP status, and a refusal (403,
404, 422 and the like) needs one: the page of a firewall or a web server under such a status is an invalid
response. Sources: the error tables of the three API documents and of the gateway.
"""

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidResponseError,
    NotPublishedError,
    NotVisibleError,
    RefusalError,
    RejectedError,
    ThrottledError,
)

_BY_ERROR_CODE: Final[Mapping[str, type[ApiError]]] = {
    **dict.fromkeys(("APIGW.0308", "APIG.0308", "CB.00060211"), ThrottledError),
    **dict.fromkeys(("APIGW.0301", "APIG.0301"), CredentialsError),
    **dict.fromkeys(("APIGW.0101", "APIG.0101"), NotPublishedError),
    **dict.fromkeys(("DEVCB.00031006", "CB.00031006", "DEV.CB.032011", "CB.00031059"), NotVisibleError),
    **dict.fromkeys(("CB.00031105", "CB.00060200"), RejectedError),
    **dict.fromkeys(("CB.00060100", "CB.00060101", "CB.00030004"), BackendError),
}

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: CredentialsError,
    **dict.fromkeys((403, 404, 410, 422), NotVisibleError),
    407: InvalidResponseError,
    408: BackendError,
    429: ThrottledError,
}

_FAILED: Final = frozenset({"fail", "failed", "failure", "error"})
_MAX_MESSAGE: Final = 200
_UNIT_MINUTES: Final = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}
_LIMIT: Final = re.compile(r"(?i)limit:\s*(\d{1,9})\s*,\s*time:\s*(\d{1,9})\s*(second|minute|hour|day)")


def parse_response(status: int, headers: Mapping[str, str], body: bytes) -> object:
    """Return the JSON value of a successful response, else raise an `ApiError` whose class says why.

    ``headers`` are case-insensitive, and ``body`` is decoded.
    """
    is_success = 200 <= status < 300
    try:
        value = _json(body)
    except ValueError:
        kind = _body_kind(body)
        if is_success:
            raise InvalidResponseError(f"HTTP {status} with {kind} instead of JSON", code="invalid") from None
        raise _error(status, headers, "", f"with {kind}", body_kind=kind) from None
    error_code, message = _failure(value)
    if is_success and error_code is None:
        return value
    raise _error(status, headers, error_code or "", message, body_kind="JSON without an error code")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of ``Retry-After``, in either of its formats; None without one."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        sent_at = parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - sent_at).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _json(body: bytes) -> object:
    try:
        value = json.loads(body)
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _body_kind(body: bytes) -> str:
    start = body[:512].lstrip()
    if not start:
        return "an empty body"
    if start.startswith(b"<"):
        return "an HTML page"
    return "truncated or broken JSON" if start.startswith((b"{", b"[")) else "text"


def _failure(value: object) -> tuple[str | None, str]:
    """Return the error code (empty if it is missing, None if the body reports no failure) and the message."""
    if not isinstance(value, dict):
        return None, ""
    error = value.get("error")
    nested = error if isinstance(error, dict) else {}
    nested_code = _first_text(nested, "code", "error_code")
    code = _first_text(value, "error_code", "err_code", "errorCode") or nested_code
    nested_message = _first_text(nested, "message", "title", "error_msg")
    message = _first_text(value, "error_msg", "errorMsg", "message") or nested_message
    if not message and isinstance(error, str):
        message = error
    is_failure = (
        str(value.get("status")).lower() in _FAILED
        or value.get("success") in (False, "false")
        or code != ""
        or nested_message != ""
    )
    return (code if is_failure else None), message


def _first_text(value: Mapping[str, object], *keys: str) -> str:
    for item in map(value.get, keys):
        if isinstance(item, str | int) and not isinstance(item, bool) and str(item) not in ("", "0"):
            return str(item)
    return ""


def _error(
    status: int, headers: Mapping[str, str], error_code: str, message: str, *, body_kind: str
) -> ApiError:
    kind = _BY_ERROR_CODE.get(error_code) or _BY_STATUS.get(status) or _by_status_class(status)
    if issubclass(kind, RefusalError) and not error_code:
        text = f"HTTP {status} with {body_kind} instead of the service's error"
        return InvalidResponseError(text, status=status, code="invalid")
    return kind(
        " ".join(filter(None, (f"HTTP {status}", _line(error_code), _line(message)))),
        status=status,
        code="invalid" if 200 <= status < 300 else str(status),
        error_code=error_code,
        retry_after=retry_after(headers),
        limit_per_minute=_limit_per_minute(message) if kind is ThrottledError else None,
    )


def _line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())[:_MAX_MESSAGE]


def _by_status_class(status: int) -> type[ApiError]:
    if status >= 500 or 200 <= status < 300:
        return BackendError
    return RejectedError if status >= 400 else InvalidResponseError


def _limit_per_minute(message: str) -> float | None:
    found = _LIMIT.search(message)
    if not found or not int(found[1]) or not int(found[2]):
        return None
    return int(found[1]) / (int(found[2]) * _UNIT_MINUTES[found[3].lower()])
