"""What an answer of the API means: status, headers and body come in, a value or an `ApiError` goes out.

This is the one place that decides it. The service's status and body disagree at times: a failure inside
HTTP 200, JSON inside a JSON string, an HTML page from a gateway. The service's own error code is believed
before the HTTP status, and a refusal (403, 404, 422 and the like) needs one: the page of a firewall or a web
server under such a status is an invalid answer. Sources: the error tables of the three API documents and of
the gateway.
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
    InvalidAnswerError,
    NotPublishedError,
    NotVisibleError,
    RejectedError,
    ThrottledError,
)

JSON = object
"""Anything `json.loads` can return; typed values stand right behind the parser of each payload."""

_BY_ERROR_CODE: Final[Mapping[str, type[ApiError]]] = {
    "APIGW.0308": ThrottledError,
    "APIG.0308": ThrottledError,
    "CB.00060211": ThrottledError,
    "APIGW.0301": CredentialsError,
    "APIG.0301": CredentialsError,
    "APIGW.0101": NotPublishedError,
    "APIG.0101": NotPublishedError,
    "DEVCB.00031006": NotVisibleError,
    "CB.00031006": NotVisibleError,
    "DEV.CB.032011": NotVisibleError,
    "CB.00031059": NotVisibleError,
    "CB.00031105": RejectedError,
    "CB.00060200": RejectedError,
    "CB.00060100": BackendError,
    "CB.00060101": BackendError,
    "CB.00030004": BackendError,
}

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: CredentialsError,
    403: NotVisibleError,
    404: NotVisibleError,
    407: InvalidAnswerError,
    408: BackendError,
    410: NotVisibleError,
    422: NotVisibleError,
    429: ThrottledError,
}

_REFUSALS: Final = (NotVisibleError, RejectedError)
"""What the service says in JSON with an error code, in each of its shapes; anything else is not its word."""

_FAILED: Final = frozenset({"fail", "failed", "failure", "error"})

_UNIT_MINUTES: Final = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}

_LIMIT: Final = re.compile(
    r"limit:\s*(\d{1,9})\s*,\s*time:\s*(\d{1,9})\s*(second|minute|hour|day)", re.IGNORECASE
)

_MESSAGE_LENGTH: Final = 200


def decipher(status: int, headers: Mapping[str, str], body: bytes) -> JSON:
    """Read one complete answer.

    Args:
        status: the HTTP status.
        headers: the answer's headers; looked up as given, so pass a case-insensitive mapping.
        body: the decoded (identity) body.

    Returns:
        The JSON value of an answer that succeeded.

    Raises:
        ApiError: the branch of the tree that says what it means.
    """
    succeeded = 200 <= status < 300
    try:
        value = _json(body)
    except ValueError:
        if succeeded:
            raise InvalidAnswerError(
                f"HTTP {status} with {_kind(body)} instead of JSON", code="invalid"
            ) from None
        raise _error(status, headers, "", _kind(body), what=_kind(body)) from None
    error_code, message = _failure(value)
    if succeeded and error_code is None:
        return value
    raise _error(status, headers, error_code or "", message, what="JSON without an error code")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the answer asks to wait, from ``Retry-After`` in either of its forms; None without one."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        sent = parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (until - sent).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def _json(body: bytes) -> JSON:
    try:
        value = json.loads(body)
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _kind(body: bytes) -> str:
    start = body[:512].lstrip().lower()
    if not start:
        return "an empty body"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "an HTML page"
    if start.startswith((b"{", b"[")):
        return "truncated or broken JSON"
    return "text"


def _failure(value: JSON) -> tuple[str | None, str]:
    """The error code (empty where none is given, None where the body tells of no failure) and the message."""
    if not isinstance(value, dict):
        return None, ""
    error = value.get("error")
    nested = error if isinstance(error, dict) else {}
    code = _first_text(value, "error_code", "err_code", "errorCode") or _first_text(
        nested, "code", "error_code"
    )
    message = _first_text(value, "error_msg", "errorMsg", "message") or _first_text(
        nested, "message", "title", "error_msg"
    )
    if not message and isinstance(error, str):
        message = error
    failed = (
        str(value.get("status")).lower() in _FAILED
        or value.get("success") in (False, "false")
        or code != ""
        or _first_text(nested, "message", "title", "error_msg") != ""
    )
    return (code if failed else None), message


def _first_text(value: Mapping[str, object], *keys: str) -> str:
    for key in keys:
        found = value.get(key)
        if isinstance(found, str | int) and not isinstance(found, bool) and str(found) not in ("", "0"):
            return str(found)
    return ""


def _error(status: int, headers: Mapping[str, str], error_code: str, message: str, *, what: str) -> ApiError:
    """The error that an answer means; ``what`` is its body in words, should it be no refusal."""
    kind = _BY_ERROR_CODE.get(error_code) or _BY_STATUS.get(status)
    if kind is None:
        kind = _by_class(status)
    if kind in _REFUSALS and not error_code:
        return InvalidAnswerError(f"HTTP {status} with {what} instead of the service's error", code="invalid")
    text = " ".join(part for part in (f"HTTP {status}", _line(error_code), _line(message)) if part)
    code = "invalid" if 200 <= status < 300 else str(status)
    if kind is ThrottledError:
        return ThrottledError(
            text,
            code=code,
            error_code=error_code,
            retry_after=retry_after(headers),
            limit_per_minute=_limit_per_minute(message),
        )
    return kind(text, code=code, error_code=error_code, retry_after=retry_after(headers))


def _line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())[:_MESSAGE_LENGTH]


def _by_class(status: int) -> type[ApiError]:
    if status >= 500 or 200 <= status < 300:
        return BackendError
    return RejectedError if status >= 400 else InvalidAnswerError


def _limit_per_minute(message: str) -> float | None:
    found = _LIMIT.search(message)
    if not found or not int(found[1]) or not int(found[2]):
        return None
    return int(found[1]) / (int(found[2]) * _UNIT_MINUTES[found[3].lower()])
