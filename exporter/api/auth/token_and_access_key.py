"""Credentials that are given, not fetched: a token, a token in a file, an access key."""

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from requests.models import PreparedRequest

from exporter.api.auth.credentials_base import (
    HEADER_SAFE,
    MAX_TOKEN_BYTES,
    TOKEN_HEADER,
    AuthOptions,
    Credentials,
)
from exporter.api.signing import sign
from exporter.errors import CredentialsError
from exporter.redaction import register
from exporter.regular_files import open_regular

SECURITY_TOKEN_HEADER: Final = "X-Security-Token"  # noqa: S105 a header's name


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
