"""Credentials that are fetched: IAM tokens, and keys of the metadata service."""

import re
import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final, Generic, NoReturn, TypeVar

import requests
from requests.models import PreparedRequest

from exporter.api.auth.circuit_breaker import MINUTE, Clock
from exporter.api.auth.credentials import (
    HEADER_SAFE,
    LARGEST,
    SECURITY_TOKEN_HEADER,
    TOKEN_HEADER,
    Credentials,
    Keys,
)
from exporter.api.auth.token_cache import Lease
from exporter.api.http import Answer, exchange, new_session, prepare
from exporter.api.responses import decipher
from exporter.config import PasswordAuth
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidAnswerError,
    ThrottledError,
    UnreachableError,
)
from exporter.redaction import register

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


T = TypeVar("T")

METADATA_KEY: Final = "auth.ecs_agency.metadata_endpoint"
"""The key of the configuration that names the address of the metadata service."""

_METADATA_TIMEOUT: Final = 3.0


class FetchedCredentials(Credentials, Generic[T]):
    """Credentials that are fetched, expire, and are fetched again: early, and once after a 401."""

    _header: ClassVar[str]

    def __init__(self, clock: Clock, patience: float, *, renew_before: float) -> None:
        super().__init__(clock, patience)
        self._lease = Lease(self._fetch, clock, renew_before)
        self._deciding = threading.Lock()
        self._renewed_after_refusal = False

    @abstractmethod
    def _fetch(self) -> tuple[T, float]:
        """Fetch anew: the value and the seconds it lives; raises `ApiError`."""

    @abstractmethod
    def _shown(self, value: T) -> str:
        """What a request that used this value carries in ``_header``."""

    def refused(self, request: PreparedRequest, *, alone: bool = False) -> bool:
        """There are others if they can be had anew, and differ from what was refused."""
        used = str(request.headers.get(self._header))
        if not self._may_renew(used, alone=alone):
            return False
        try:
            changed = self._shown(self._lease.value()) != used
        except ApiError:
            return False
        if not changed:
            self._gate.refused(alone=alone)
        return changed

    def _may_renew(self, used: str, *, alone: bool) -> bool:
        """Give up what was refused, unless somebody has; a second refusal in a row starts the pause."""
        with self._deciding:
            if not self._lease.drop_if(lambda value: self._shown(value) == used):
                return not self._gate.is_paused()
            if self._renewed_after_refusal:
                self._gate.refused(alone=alone)
                return False
            self._renewed_after_refusal = True
            self._gate.replaced()
            return True

    def accepted(self) -> None:
        """Good ones may be renewed once more when they are refused."""
        self._renewed_after_refusal = False
        super().accepted()

    def expires_at(self) -> float | None:
        """As the issuer told it."""
        return self._lease.expires_at()


class PasswordCredentials(FetchedCredentials[str]):
    """A user and a password that get a token from IAM."""

    kind = "password"
    _header = TOKEN_HEADER

    def __init__(
        self,
        user: PasswordAuth,
        iam_endpoint: str,
        session: requests.Session,
        timeout: float,
        clock: Clock,
        patience: float,
    ) -> None:
        super().__init__(clock, patience, renew_before=10 * MINUTE)
        self._user = user
        self._iam = Peer(
            f"IAM at {iam_endpoint}",
            "iam_endpoint",
            session,
            timeout,
            refusals=frozenset({400, 401, 403}),
        )
        self._url = f"{iam_endpoint.rstrip('/')}/v3/auth/tokens?nocatalog=true"

    def _authorize(self, request: PreparedRequest) -> None:
        request.headers[TOKEN_HEADER] = self._lease.value()

    def _shown(self, value: str) -> str:
        return value

    def _fetch(self) -> tuple[str, float]:
        user = {
            "name": self._user.username,
            "password": self._user.password.get_secret_value(),
            "domain": {"name": self._user.domain},
        }
        login = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": self._user.project}},
            }
        }
        asked = self._clock()
        answer = self._iam.ask("POST", self._url, json=login)
        told = member(self._iam.value(answer), "token")
        token = answer.headers.get("X-Subject-Token", "")
        register(token, renewed=True)
        if not HEADER_SAFE.fullmatch(token):
            self._iam.raise_strange("a token was asked for, none came in X-Subject-Token")
        return token, life(member(told, "issued_at"), member(told, "expires_at"), asked)


class EcsAgencyCredentials(FetchedCredentials["Keys"]):
    """Temporary keys of the machine itself, from its metadata service."""

    kind = "ecs_agency"
    _header = SECURITY_TOKEN_HEADER

    def __init__(self, metadata_endpoint: str, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience, renew_before=40 * MINUTE)
        self._endpoint = metadata_endpoint.rstrip("/")

    def _authorize(self, request: PreparedRequest) -> None:
        self._lease.value().sign(request, self._clock())

    def _shown(self, value: "Keys") -> str:
        return value.security_token

    def _fetch(self) -> tuple["Keys", float]:
        with new_session() as session:
            session.trust_env = False  # a link-local address; a proxy would hand the keys to a stranger
            service = Peer(
                f"the metadata service at {self._endpoint}",
                METADATA_KEY,
                session,
                _METADATA_TIMEOUT,
                refusals=frozenset({400, 401, 403, 404}),  # 404: the machine has no agency
                refuses_in_json=False,
            )
            asked = self._clock()
            answer = service.ask(
                "GET", f"{self._endpoint}/openstack/latest/securitykey", headers=self._token_header(service)
            )
        keys = member(service.value(answer), "credential")
        access, secret, token = (text(member(keys, name)) for name in ("access", "secret", "securitytoken"))
        register(secret, token, renewed=True)
        if not (HEADER_SAFE.fullmatch(access) and secret and HEADER_SAFE.fullmatch(token)):
            service.raise_strange("keys were asked for, none came")
        return Keys(access, secret, token), life(None, member(keys, "expires_at"), asked)

    def _token_header(self, service: "Peer") -> dict[str, str]:
        answer = service.ask(
            "PUT",
            f"{self._endpoint}/meta-data/latest/api/token",
            headers={"X-Metadata-Token-Ttl-Seconds": "21600"},
        )
        if answer.status in (404, 405, 503):  # an older metadata service knows no tokens
            return {}
        if answer.status != 200:
            service.value(answer)
        token = answer.body.decode("ascii", "replace").strip()
        register(token, renewed=True)
        if not HEADER_SAFE.fullmatch(token):
            service.raise_strange("a token was asked for, none came")
        return {"X-Metadata-Token": token}


_LONGEST_LIFE: Final = 24 * 60 * MINUTE  # what the service documents for tokens and temporary keys

_ASSUMED_LIFE: Final = 60 * MINUTE  # where an answer does not say, or says the impossible


def life(issued: object, expires: object, now: float) -> float:
    """Seconds; by the issuer's own clock where it told both times, so that ours may be wrong."""
    end = _epoch(expires)
    if end is None:
        return _ASSUMED_LIFE
    start = _epoch(issued)
    told = end - (now if start is None else start)
    return min(max(told, 1.0), _LONGEST_LIFE) if told > 0 else _ASSUMED_LIFE


def _epoch(value: object) -> float | None:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
