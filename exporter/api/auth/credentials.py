"""Base class of credentials, and those that need no fetching: tokens and access keys."""

import os
import re
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from requests.auth import AuthBase
from requests.models import PreparedRequest

from exporter.api.auth.circuit_breaker import Clock, Gate
from exporter.api.auth.operations import RefusedOperations
from exporter.api.signing import sign
from exporter.config.files import open_regular
from exporter.errors import (
    ApiError,
    CredentialsError,
)
from exporter.redaction import register

TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105 a header's name


class Credentials(AuthBase, ABC):
    """Adds to a request what proves who sends it; safe to share between threads.

    Attributes:
        kind: the key of the configuration's ``auth`` section.
        operations: those that refuse these credentials, while others accept them.
    """

    kind: ClassVar[str]

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._gate = Gate(clock, patience)
        self.operations = RefusedOperations(clock)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request; calling it again on the same request replaces what it added.

        Raises:
            CredentialsError: these were refused, and it is too early to try again; nothing was sent.
            ApiError: a token or keys had to be fetched and could not.
        """
        self._gate.enter()
        try:
            self._authorize(request)
            self._gate.enter()  # a token may have taken its time, and been refused to others meanwhile
        except ApiError:
            self._gate.withdraw()
            raise
        return request

    @abstractmethod
    def _authorize(self, request: PreparedRequest) -> None: ...

    @abstractmethod
    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """Take note of a 401.

        Args:
            request: the one that was refused, as it was sent.
            alone: other operations accept the same credentials, so that nothing pauses.

        Returns:
            True if there are other credentials by now, so that one try more is worth it.
        """

    def accepted(self) -> None:
        """Take note of an answer that shows the credentials were good; costs next to nothing."""
        self._gate.accepted()

    def expires_at(self) -> float | None:
        """When what is in use at present expires, seconds since the epoch; None where that is unknown."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


SECURITY_TOKEN_HEADER: Final = "X-Security-Token"  # noqa: S105 a header's name


@dataclass(frozen=True)
class Keys:
    """Of the configuration, or temporary ones with a security token; empty where there is none."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str = field(repr=False)

    def sign(self, request: PreparedRequest, now: float) -> None:
        """Add the signature; of the other headers only those are signed that no proxy changes."""
        if self.security_token:
            request.headers[SECURITY_TOKEN_HEADER] = self.security_token
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() in ("content-type", "host") or name.lower().startswith("x-")
        }
        body = request.body or b""
        added = sign(
            request.method or "",
            request.url or "",
            headers,
            body.encode() if isinstance(body, str) else body,
            access_key=self.access_key,
            secret_key=self.secret_key,
            date=datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ"),
        )
        request.headers.update(added)


class TokenCredentials(Credentials):
    """A token from the configuration, as long as it lasts."""

    kind = "token"

    def __init__(self, token: str, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience)
        self._token = token

    def _authorize(self, request: PreparedRequest) -> None:
        request.headers[TOKEN_HEADER] = self._token

    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """There is no other token to try."""
        self._gate.refused(alone=alone)
        return False


class TokenFileCredentials(Credentials):
    """A token that something else renews in a file, which may be away or empty for a moment."""

    kind = "token_file"

    def __init__(self, path: Path, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience)
        self._path = path
        self._reading = threading.Lock()
        self._token = ""
        self._seen: tuple[int, int, int] | None = None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Look at the file first: a new token ends the pause after a refusal."""
        self._read()
        return super().__call__(request)

    def _authorize(self, request: PreparedRequest) -> None:
        if not self._token:
            raise CredentialsError(
                f"no token in {self._path}: missing, empty, no regular file, or not one line of plain text"
            )
        request.headers[TOKEN_HEADER] = self._token

    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """There is another token if the file holds one by now."""
        self._read(even_if_it_looks_the_same=True)
        if self._token != request.headers.get(TOKEN_HEADER):
            return True
        self._gate.refused(alone=alone)
        return False

    def _read(self, *, even_if_it_looks_the_same: bool = False) -> None:
        with self._reading:
            try:
                if not even_if_it_looks_the_same and self._look(os.stat(self._path)) == self._seen:
                    return
                with open_regular(self._path) as file:
                    self._seen = self._look(os.fstat(file.fileno()))
                    token = file.read(LARGEST).decode().strip()
            except (OSError, UnicodeDecodeError):
                return
            if HEADER_SAFE.fullmatch(token) and token != self._token:
                register(token, renewed=True)
                self._token = token
                self._gate.replaced()

    @staticmethod
    def _look(stat: os.stat_result) -> tuple[int, int, int]:
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class AccessKeyCredentials(Credentials):
    """An access key that signs every request."""

    kind = "access_key"

    def __init__(self, keys: "Keys", project_id: str, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience)
        self._keys = keys
        self._project_id = project_id

    def _authorize(self, request: PreparedRequest) -> None:
        if self._project_id:
            request.headers["X-Project-Id"] = self._project_id
        self._keys.sign(request, self._clock())

    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """There is no other key to try."""
        self._gate.refused(alone=alone)
        return False


HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]+")
"""What a token or a key may consist of to be sent in a header."""

LARGEST: Final = 64 * 1024
"""Bytes that a token, or an answer that holds one, may have."""


class WaryCredentials(Credentials):
    """Other credentials, of which so many refusals in all are borne, renewed in between or not.

    Args:
        others: do the work.
        refusals: with that many, there is no try more.
    """

    def __init__(self, others: Credentials, refusals: int) -> None:
        self._others = others
        self._left = refusals
        self.operations = others.operations

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Authorize a request as the others do."""
        return self._others(request)

    def _authorize(self, request: PreparedRequest) -> None:
        self._others(request)

    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """There are other ones only if that many refusals have not come yet."""
        self._left -= 1
        return self._left > 0 and self._others.refused(request, alone=alone)

    def accepted(self) -> None:
        """The others are good."""
        self._others.accepted()

    def expires_at(self) -> float | None:
        """As of the others."""
        return self._others.expires_at()
