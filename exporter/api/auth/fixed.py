"""Credentials that stand in the configuration, or in a file it names."""

import os
import threading
from pathlib import Path

from requests.models import PreparedRequest

from exporter.api.auth.base import TOKEN_HEADER, Credentials
from exporter.api.auth.keys import Keys
from exporter.api.auth.peer import HEADER_SAFE, LARGEST
from exporter.api.auth.times import Clock
from exporter.config.files import open_regular
from exporter.errors import CredentialsError
from exporter.redaction import register


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
