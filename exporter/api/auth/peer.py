"""Asking whoever hands out credentials, and saying what they answered in words of our own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import requests
from requests.models import PreparedRequest

from exporter.api.answer import decipher
from exporter.api.auth.times import MINUTE
from exporter.api.transport import Answer, exchange, prepare
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidAnswerError,
    ThrottledError,
    UnreachableError,
)

HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]+")
"""What a token or a key may consist of to be sent in a header."""

LARGEST: Final = 64 * 1024
"""Bytes that a token, or an answer that holds one, may have."""

_ERROR_CODE: Final = re.compile(r"[A-Z]{2,12}(\.[A-Z]{1,12}){0,3}\.\d{2,12}")


@dataclass(frozen=True)
class Peer:
    """Somebody credentials are fetched from: never followed elsewhere, never read without end.

    Attributes:
        name: how errors call it.
        key: of the configuration, which names its address.
        session: carries the requests.
        timeout: seconds, to connect and between two pieces of an answer.
        refusals: the statuses by which it refuses.
        refuses_in_json: a refusal has an error code; without one it comes from something in between.
    """

    name: str
    key: str
    session: requests.Session
    timeout: float
    refusals: frozenset[int]
    refuses_in_json: bool = True

    def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, json: object = None
    ) -> Answer:
        """Send a request without credentials of its own and read the answer, whatever its status."""
        request = requests.Request(method, url, headers=dict(headers or {}), json=json, auth=_nobody)
        try:
            prepared = prepare(self.session, request)
            return exchange(self.session, prepared, timeout=self.timeout, largest=LARGEST)
        except UnreachableError as error:
            what = "did not answer in time" if error.code == "timeout" else f"cannot be reached: {error}"
            text = f"{self.name} {what}"
            raise UnreachableError(text, code=error.code, obstacle=error.obstacle).of(self.key) from None
        except InvalidAnswerError as error:
            self.raise_strange(str(error))

    def value(self, answer: Answer) -> object:
        """The JSON of an answer that succeeded; anything else is raised in this program's own words."""
        try:
            return decipher(answer.status, answer.headers, answer.body)
        except ApiError as error:
            code = error.error_code if _ERROR_CODE.fullmatch(error.error_code) else ""
            kind, what = self._meaning(error, answer.status)
            wait = error.retry_after
            if kind is ThrottledError and wait is None:
                wait = MINUTE
            text = " ".join(part for part in (f"{self.name} {what}: HTTP {answer.status}", code) if part)
            raise kind(text, code=error.code, error_code=code, retry_after=wait).of(self.key) from None

    def raise_strange(self, what: str) -> NoReturn:
        """Raise that the answer is not what was asked for."""
        raise InvalidAnswerError(f"{self.name} gave a strange answer: {what}", code="invalid").of(self.key)

    def _meaning(self, error: ApiError, status: int) -> tuple[type[ApiError], str]:
        if isinstance(error, ThrottledError):
            return ThrottledError, "asks for fewer requests"
        is_its_own = bool(error.error_code) or not self.refuses_in_json
        if isinstance(error, CredentialsError) or (status in self.refusals and is_its_own):
            return CredentialsError, "refused the credentials"
        if isinstance(error, BackendError) and status >= 500:
            return BackendError, "is in trouble"
        return InvalidAnswerError, "gave a strange answer"


def _nobody(request: PreparedRequest) -> PreparedRequest:
    """No credentials: neither the session's own nor those of a netrc file."""
    return request


def member(value: object, name: str) -> object:
    """A member of a JSON object; None where there is none."""
    return value.get(name) if isinstance(value, dict) else None


def text(value: object) -> str:
    """A JSON string; empty for anything else."""
    return value if isinstance(value, str) else ""
