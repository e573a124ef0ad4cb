"""Base class of credentials, and those that are not fetched: tokens and access keys."""

import math
import os
import re
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from requests.auth import AuthBase
from requests.models import PreparedRequest

from exporter.api.auth.circuit_breaker import CircuitBreaker, Clock, OperationBreaker
from exporter.api.signing import sign
from exporter.errors import ApiError, CredentialsError
from exporter.redaction import register
from exporter.regular_files import open_regular

TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105 a header's name
SECURITY_TOKEN_HEADER: Final = "X-Security-Token"  # noqa: S105 a header's name

HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]+")
"""Characters that a token or a key may have to be sent in a header."""

MAX_TOKEN_BYTES: Final = 64 * 1024
"""Largest token file, and largest response that holds a token."""


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """Settings of all kinds of credentials.

    Other requests wait ``probe_timeout_s`` for the response to the first one. From 401 number
    ``max_refusals`` on, no other credentials are tried.
    """

    clock: Clock
    probe_timeout_s: float
    max_refusals: float = math.inf


class Credentials(AuthBase, ABC):
    """Authenticator of requests; safe to share between threads."""

    def __init__(self, options: AuthOptions) -> None:
        self._clock = options.clock
        self._refusals_left = options.max_refusals
        self._breaker = CircuitBreaker(options.clock, options.probe_timeout_s)
        self.operations = OperationBreaker(options.clock)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request; a second call on the same request replaces what the first one added.

        An `ApiError` means that fetching a token failed, or that it is too early to retry after a refusal.
        """
        self._breaker.before_request()
        try:
            self._authorize(request)
            self._breaker.before_request()  # the token may have been refused to others while it was fetched
        except ApiError:
            self._breaker.cancel()
            raise
        return request

    @abstractmethod
    def _authorize(self, request: PreparedRequest) -> None: ...

    def refused(self, request: PreparedRequest, *, operation_only: bool = False) -> bool:
        """Record a 401; True if there are other credentials by now, so that one retry is worthwhile.

        Nothing pauses if it concerns the ``operation_only``: others accept the same credentials.
        """
        self._refusals_left -= 1
        return self._refusals_left > 0 and self._has_others(request, operation_only)

    def _has_others(self, _request: PreparedRequest, operation_only: bool) -> bool:
        self._breaker.refused(operation_only=operation_only)
        return False

    def accepted(self, operation: str) -> None:
        """Record a response of that operation which shows that the credentials are valid."""
        self._breaker.accepted()
        self.operations.accepted(operation)

    def expires_at(self) -> float | None:
        """Expiry of the credentials in use, seconds since the epoch; None if unknown."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


@dataclass(frozen=True)
class Keys:
    """An access key, with a security token if it is temporary."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str = field(repr=False)

    def sign(self, request: PreparedRequest, now: float) -> None:
        """Add the signature; it covers only headers that no proxy changes."""
        if self.security_token:
            request.headers[SECURITY_TOKEN_HEADER] = self.security_token
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "host") or name.lower().startswith("x-")
        }
        body = request.body or b""
        signature_headers = sign(
            request.method or "",
            request.url or "",
            headers,
            body.encode() if isinstance(body, str) else body,
            access_key=self.access_key,
            secret_key=self.secret_key,
            date=datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ"),
        )
        request.headers.update(signature_headers)


class TokenCredentials(Credentials):
    """A token from the configuration, valid until it expires."""

    def __init__(self, token: str, options: AuthOptions) -> None:
        super().__init__(options)
        self._token = token

    def _authorize(self, request: PreparedRequest) -> None:
        request.headers[TOKEN_HEADER] = self._token


class TokenFileCredentials(Credentials):
    """A token that another program renews in a file, which may be missing or empty for a moment."""

    def __init__(self, path: Path, options: AuthOptions) -> None:
        super().__init__(options)
        self._path = path
        self._reading = threading.Lock()
        self._token = ""
        self._file_state: tuple[int, int, int] | None = None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Read a changed file first: a new token ends the pause after a refusal."""
        self._read()
        return super().__call__(request)

    def _authorize(self, request: PreparedRequest) -> None:
        if not self._token:
            raise CredentialsError(
                f"no token in {self._path}: missing, empty, no regular file, or not one line of plain text"
            )
        request.headers[TOKEN_HEADER] = self._token

    def _has_others(self, request: PreparedRequest, operation_only: bool) -> bool:
        self._read(even_if_unchanged=True)
        if self._token != request.headers.get(TOKEN_HEADER):
            return True
        return super()._has_others(request, operation_only)

    def _read(self, *, even_if_unchanged: bool = False) -> None:
        with self._reading:
            try:
                if not even_if_unchanged and _state(os.stat(self._path)) == self._file_state:
                    return
                with open_regular(self._path) as file:
                    self._file_state = _state(os.fstat(file.fileno()))
                    token = file.read(MAX_TOKEN_BYTES).decode().strip()
            except (OSError, UnicodeDecodeError):
                return
            if HEADER_SAFE.fullmatch(token) and token != self._token:
                register(token, renewed=True)
                self._token = token
                self._breaker.credentials_replaced()


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


class AccessKeyCredentials(Credentials):
    """An access key that signs every request."""

    def __init__(self, keys: Keys, project_id: str, options: AuthOptions) -> None:
        super().__init__(options)
        self._keys = keys
        self._project_id = project_id

    def _authorize(self, request: PreparedRequest) -> None:
        if self._project_id:
            request.headers["X-Project-Id"] = self._project_id
        self._keys.sign(request, self._clock())
