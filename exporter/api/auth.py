"""Who asks: one `requests` authenticator for each kind of credentials.

The client calls the authenticator before a request goes out and tells it how that ended: `refused` after a
401, `accepted` after any answer that shows the credentials were good. Rules all kinds keep:

1. Five refusals in a row lock a key for five minutes, for everyone who uses it. After a refusal nothing is
   sent for 60 s, then twice as long each time up to 10 minutes; a good answer ends that.
2. Credentials nobody has seen work go out with one request first; the others wait a moment for its answer.
3. What has to be fetched (a token, temporary keys) is fetched by one thread at a time and shared, early
   enough, and used to its end while fetching fails.
4. A 401 for credentials that have been replaced in the meantime says nothing about the new ones.
5. No text made here holds a secret, nor anything IAM or the metadata service said besides its error code.
"""

import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Generic, NoReturn, TypeVar, assert_never

import requests
from cachetools import TLRUCache
from requests.auth import AuthBase
from requests.models import PreparedRequest

from exporter.api.answer import decipher
from exporter.api.signing import sign
from exporter.config import AccessKeyAuth, Auth, EcsAgencyAuth, PasswordAuth, TokenAuth, TokenFileAuth
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidAnswerError,
    ThrottledError,
    UnreachableError,
)

Clock = Callable[[], float]
"""Seconds since the epoch."""

T = TypeVar("T")

_MINUTE: Final = 60.0
_TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105 a header's name
_SECURITY_TOKEN_HEADER: Final = "X-Security-Token"  # noqa: S105 a header's name
_FIRST_ANSWER_PATIENCE: Final = 2.0
_LONGEST_PAUSE: Final = 10 * _MINUTE
_METADATA_TIMEOUT: Final = 3.0
_ANSWER_SIZE: Final = 64 * 1024
_LONGEST_LIFE: Final = 24 * 60 * _MINUTE  # what the service documents for tokens and temporary keys
_ASSUMED_LIFE: Final = 60 * _MINUTE  # where an answer does not say, or says the impossible
_HEADER_SAFE: Final = re.compile(r"[\x21-\x7e]+")
_ERROR_CODE: Final = re.compile(r"[A-Z]{2,12}(\.[A-Z]{1,12}){0,3}\.\d{2,12}")


class Credentials(AuthBase, ABC):
    """Adds to a request what proves who sends it; safe to share between threads.

    Attributes:
        kind: the key of the configuration's ``auth`` section.
    """

    kind: ClassVar[str]

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._gate = _Gate(clock, patience)

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
    def refused(self, request: PreparedRequest) -> bool:
        """Take note of a 401.

        Args:
            request: the one that was refused, as it was sent.

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


class TokenCredentials(Credentials):
    """A token from the configuration, as long as it lasts."""

    kind = "token"

    def __init__(self, token: str, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience)
        self._token = token

    def _authorize(self, request: PreparedRequest) -> None:
        request.headers[_TOKEN_HEADER] = self._token

    def refused(self, request: PreparedRequest) -> bool:
        """There is no other token to try."""
        self._gate.refused()
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
            raise CredentialsError(f"no token in {self._path}: missing, empty or not one line of plain text")
        request.headers[_TOKEN_HEADER] = self._token

    def refused(self, request: PreparedRequest) -> bool:
        """There is another token if the file holds one by now."""
        self._read(even_if_it_looks_the_same=True)
        if self._token != request.headers.get(_TOKEN_HEADER):
            return True
        self._gate.refused()
        return False

    def _read(self, *, even_if_it_looks_the_same: bool = False) -> None:
        with self._reading:
            try:
                if not even_if_it_looks_the_same and self._look(os.stat(self._path)) == self._seen:
                    return
                with self._path.open("rb") as file:
                    self._seen = self._look(os.fstat(file.fileno()))
                    token = file.read(_ANSWER_SIZE).decode().strip()
            except (OSError, UnicodeDecodeError):
                return
            if _HEADER_SAFE.fullmatch(token) and token != self._token:
                self._token = token
                self._gate.replaced()

    @staticmethod
    def _look(stat: os.stat_result) -> tuple[int, int, int]:
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


class AccessKeyCredentials(Credentials):
    """An access key that signs every request."""

    kind = "access_key"

    def __init__(self, keys: "_Keys", project_id: str, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience)
        self._keys = keys
        self._project_id = project_id

    def _authorize(self, request: PreparedRequest) -> None:
        if self._project_id:
            request.headers["X-Project-Id"] = self._project_id
        self._keys.sign(request, self._clock())

    def refused(self, request: PreparedRequest) -> bool:
        """There is no other key to try."""
        self._gate.refused()
        return False


class _LeasedCredentials(Credentials, Generic[T]):
    """Credentials that are fetched, expire, and are fetched again: early, and once after a 401."""

    _header: ClassVar[str]

    def __init__(self, clock: Clock, patience: float, *, renew_before: float) -> None:
        super().__init__(clock, patience)
        self._lease = _Lease(self._fetch, clock, renew_before)
        self._deciding = threading.Lock()
        self._renewed_after_refusal = False

    @abstractmethod
    def _fetch(self) -> tuple[T, float]:
        """Fetch anew: the value and the seconds it lives; raises `ApiError`."""

    @abstractmethod
    def _shown(self, value: T) -> str:
        """What a request that used this value carries in ``_header``."""

    def refused(self, request: PreparedRequest) -> bool:
        used = str(request.headers.get(self._header))
        if not self._may_renew(used):
            return False
        try:
            changed = self._shown(self._lease.value()) != used
        except ApiError:
            return False
        if not changed:
            self._gate.refused()
        return changed

    def _may_renew(self, used: str) -> bool:
        """Give up what was refused, unless somebody has; a second refusal in a row starts the pause."""
        with self._deciding:
            if not self._lease.drop_if(lambda value: self._shown(value) == used):
                return not self._gate.is_paused()
            if self._renewed_after_refusal:
                self._gate.refused()
                return False
            self._renewed_after_refusal = True
            self._gate.replaced()
            return True

    def accepted(self) -> None:
        self._renewed_after_refusal = False
        super().accepted()

    def expires_at(self) -> float | None:
        return self._lease.expires_at()


class PasswordCredentials(_LeasedCredentials[str]):
    """A user and a password that get a token from IAM."""

    kind = "password"
    _header = _TOKEN_HEADER

    def __init__(
        self,
        user: PasswordAuth,
        iam_endpoint: str,
        session: requests.Session,
        timeout: float,
        clock: Clock,
        patience: float,
    ) -> None:
        super().__init__(clock, patience, renew_before=10 * _MINUTE)
        self._user = user
        self._iam = _Peer(f"IAM at {iam_endpoint}", session, timeout, refusals=frozenset({400, 401, 403}))
        self._url = f"{iam_endpoint.rstrip('/')}/v3/auth/tokens?nocatalog=true"

    def _authorize(self, request: PreparedRequest) -> None:
        request.headers[_TOKEN_HEADER] = self._lease.value()

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
        told = _member(self._iam.value(answer), "token")
        token = answer.headers.get("X-Subject-Token", "")
        if not _HEADER_SAFE.fullmatch(token):
            self._iam.raise_strange("a token was asked for, none came in X-Subject-Token")
        return token, _life(_member(told, "issued_at"), _member(told, "expires_at"), asked)


class EcsAgencyCredentials(_LeasedCredentials["_Keys"]):
    """Temporary keys of the machine itself, from its metadata service."""

    kind = "ecs_agency"
    _header = _SECURITY_TOKEN_HEADER

    def __init__(self, metadata_endpoint: str, clock: Clock, patience: float) -> None:
        super().__init__(clock, patience, renew_before=40 * _MINUTE)
        self._endpoint = metadata_endpoint.rstrip("/")

    def _authorize(self, request: PreparedRequest) -> None:
        self._lease.value().sign(request, self._clock())

    def _shown(self, value: "_Keys") -> str:
        return value.security_token

    def _fetch(self) -> tuple["_Keys", float]:
        with requests.Session() as session:
            session.trust_env = False  # a link-local address; a proxy would hand the keys to a stranger
            service = _Peer(
                f"the metadata service at {self._endpoint}",
                session,
                _METADATA_TIMEOUT,
                refusals=frozenset({400, 401, 403, 404}),  # 404: the machine has no agency
            )
            asked = self._clock()
            answer = service.ask(
                "GET", f"{self._endpoint}/openstack/latest/securitykey", headers=self._token_header(service)
            )
        keys = _member(service.value(answer), "credential")
        access, secret, token = (_text(_member(keys, name)) for name in ("access", "secret", "securitytoken"))
        if not (_HEADER_SAFE.fullmatch(access) and secret and _HEADER_SAFE.fullmatch(token)):
            service.raise_strange("keys were asked for, none came")
        return _Keys(access, secret, token), _life(None, _member(keys, "expires_at"), asked)

    def _token_header(self, service: "_Peer") -> dict[str, str]:
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
        if not _HEADER_SAFE.fullmatch(token):
            service.raise_strange("a token was asked for, none came")
        return {"X-Metadata-Token": token}


def credentials_for(
    auth: Auth, *, iam_endpoint: str, session: requests.Session, timeout: float, clock: Clock
) -> Credentials:
    """Make the authenticator for the ``auth`` section of the configuration; sends nothing yet.

    Args:
        auth: one kind of credentials.
        iam_endpoint: as ``https://iam.cn-north-4.myhuaweicloud.com``; asked for tokens.
        session: carries the requests to IAM; its TLS and proxy settings count.
        timeout: seconds, for IAM to connect and to answer.
        clock: seconds since the epoch.
    """
    patience = min(timeout, _FIRST_ANSWER_PATIENCE)
    match auth:
        case TokenAuth():
            return TokenCredentials(auth.token.get_secret_value(), clock, patience)
        case TokenFileAuth():
            return TokenFileCredentials(auth.path, clock, patience)
        case PasswordAuth():
            return PasswordCredentials(auth, iam_endpoint, session, timeout, clock, patience)
        case AccessKeyAuth():
            security_token = auth.security_token.get_secret_value() if auth.security_token else ""
            keys = _Keys(auth.access_key, auth.secret_key.get_secret_value(), security_token)
            return AccessKeyCredentials(keys, auth.project_id or "", clock, patience)
        case EcsAgencyAuth():
            return EcsAgencyCredentials(auth.metadata_endpoint, clock, patience)
        case _:
            assert_never(auth)


class _Pause:
    """Nothing is sent for a while, longer after each failure; a success ends it."""

    def __init__(self, clock: Clock, first: float, longest: float) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._since = 0.0
        self._length = 0.0

    def begin(self, at_least: float = 0.0) -> None:
        self._since = self._clock()
        self._length = min(max(self._first, 2 * self._length), self._longest)
        self._length = max(self._length, min(at_least, _LONGEST_PAUSE))

    def end(self) -> None:
        self._length = 0.0

    def left(self) -> float:
        """Seconds; none when the clock was set back, or the pause might last for hours."""
        gone = self._clock() - self._since
        return self._length - gone if 0 <= gone < self._length else 0.0


def _pause_after_refusal(clock: Clock) -> _Pause:
    return _Pause(clock, _MINUTE, _LONGEST_PAUSE)


class _Gate:
    """Rules 1 and 2: what may go out with credentials that were refused, or that nobody has seen work.

    It is open once an answer was good. Otherwise one thread passes, and the others wait for `accepted` or
    `refused`; when neither comes in time, it opens: a slow API is no reason to stand still.
    """

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._pause = _pause_after_refusal(clock)
        self._news = threading.Condition()
        self._open = False
        self._proven = False
        self._first: int | None = None

    def enter(self) -> None:
        if self._open:
            return
        me = threading.get_ident()
        with self._news:
            while not self._open:
                self._stop_after_refusal()
                if self._first in (None, me):
                    self._first = me
                    return
                if not self._news.wait(self._patience):
                    self._stop_after_refusal()
                    self._open = True

    def withdraw(self) -> None:
        """Nothing was sent after all: somebody else goes first."""
        with self._news:
            if self._first == threading.get_ident():
                self._first = None
                self._news.notify()

    def accepted(self) -> None:
        if self._proven:
            return
        with self._news:
            self._proven = self._open = True
            self._pause.end()
            self._news.notify_all()

    def refused(self) -> None:
        with self._news:
            if not self._pause.left():  # one pause for all requests that were under way
                self._pause.begin()
            self._doubt()

    def is_paused(self) -> bool:
        return self._pause.left() > 0

    def replaced(self) -> None:
        """There are other credentials now: the pause is over, and they have to prove themselves."""
        with self._news:
            self._pause.end()
            self._doubt()

    def _doubt(self) -> None:
        self._proven = self._open = False
        self._first = None
        self._news.notify_all()

    def _stop_after_refusal(self) -> None:
        left = self._pause.left()
        if left:
            again = _when(self._clock() + left)
            raise CredentialsError(
                f"the API refused the credentials; tried again at {again}", code="401", retry_after=left
            )


@dataclass(frozen=True)
class _Leased(Generic[T]):
    value: T = field(repr=False)
    renew_at: float
    expires_at: float


class _Lease(Generic[T]):
    """Rule 3: a value that is fetched, shared and renewed in time, with a pause after a failure."""

    def __init__(self, fetch: Callable[[], tuple[T, float]], clock: Clock, renew_before: float) -> None:
        self._fetch = fetch
        self._clock = clock
        self._renew_before = renew_before
        self._fetching = threading.Lock()
        self._guard = threading.Lock()
        self._cache: TLRUCache[str, _Leased[T], float] = TLRUCache(
            1, lambda _key, leased, _now: leased.expires_at, clock
        )
        self._after_refusal = _pause_after_refusal(clock)
        self._after_trouble = _Pause(clock, 5.0, _MINUTE)
        self._failure = ApiError("nothing has failed yet")

    def value(self) -> T:
        leased = self._current()
        if leased and self._clock() < leased.renew_at:
            return leased.value
        if leased is None:
            self._fetching.acquire()
        elif not self._fetching.acquire(blocking=False):
            return leased.value
        try:
            return self._renewed().value
        finally:
            self._fetching.release()

    def drop_if(self, unwanted: Callable[[T], bool]) -> bool:
        """Forget the value if it is the unwanted one; False where it has been replaced already."""
        with self._guard:
            leased = self._cache.get("")
            if leased is None or not unwanted(leased.value):
                return False
            self._cache.clear()
            return True

    def expires_at(self) -> float | None:
        leased = self._current()
        return leased.expires_at if leased else None

    def _current(self) -> _Leased[T] | None:
        with self._guard:
            return self._cache.get("")

    def _renewed(self) -> _Leased[T]:
        leased = self._current()
        if leased and self._clock() < leased.renew_at:  # by the thread this one waited for
            return leased
        try:
            return self._fetched()
        except ApiError:
            leased = self._current()
            if leased is None:
                raise
            return leased

    def _fetched(self) -> _Leased[T]:
        self._stop_while_paused()
        asked = self._clock()
        try:
            value, life = self._fetch()
        except ApiError as error:
            self._failure = _again(error, str(error))  # a copy; the error's traceback holds the request
            pause = self._after_refusal if isinstance(error, CredentialsError) else self._after_trouble
            pause.begin(at_least=error.retry_after or 0.0)
            raise self._failure_until(pause.left()) from None
        self._after_refusal.end()
        self._after_trouble.end()
        leased = _Leased(value, asked + max(life - self._renew_before, life / 2), asked + life)
        with self._guard:
            self._cache[""] = leased
        return leased

    def _stop_while_paused(self) -> None:
        left = max(self._after_refusal.left(), self._after_trouble.left())
        if left:
            raise self._failure_until(left)

    def _failure_until(self, left: float) -> ApiError:
        text = f"{self._failure}; tried again at {_when(self._clock() + left)}"
        return _again(self._failure, text, left)


@dataclass(frozen=True)
class _Keys:
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str = field(repr=False)

    def sign(self, request: PreparedRequest, now: float) -> None:
        """Add the signature; of the other headers only those are signed that no proxy changes."""
        if self.security_token:
            request.headers[_SECURITY_TOKEN_HEADER] = self.security_token
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


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class _Peer:
    """Somebody credentials are fetched from: never followed elsewhere, never read without end.

    Attributes:
        name: how errors call it.
        session: carries the requests.
        timeout: seconds, to connect and between two pieces of an answer.
        refusals: the statuses by which it refuses.
    """

    name: str
    session: requests.Session
    timeout: float
    refusals: frozenset[int]

    def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, json: object = None
    ) -> _Answer:
        request = requests.Request(method, url, headers=dict(headers or {}), json=json, auth=_nobody)
        try:
            prepared = self.session.prepare_request(request)
            settings = self.session.merge_environment_settings(prepared.url, {}, True, None, None)
            # The adapter, not session.send: that one reads the whole body of a redirect, followed or not.
            adapter = self.session.get_adapter(prepared.url or "")
            with adapter.send(
                prepared,
                stream=True,
                timeout=self.timeout,
                verify=settings["verify"] or False,
                cert=settings["cert"],
                proxies=settings["proxies"],
            ) as response:
                body = b""
                for piece in response.iter_content(8192):
                    body += piece
                    if len(body) > _ANSWER_SIZE:
                        self.raise_strange("there is no end to it")
                return _Answer(response.status_code, response.headers, body)
        except requests.Timeout:
            raise UnreachableError(f"{self.name} did not answer in time", code="timeout") from None
        except requests.RequestException as error:
            why = type(error).__name__
            raise UnreachableError(f"{self.name} cannot be reached: {why}", code="connection") from None

    def value(self, answer: _Answer) -> object:
        """The JSON of an answer that succeeded; anything else is raised in this program's own words."""
        try:
            return decipher(answer.status, answer.headers, answer.body)
        except ApiError as error:
            code = error.error_code if _ERROR_CODE.fullmatch(error.error_code) else ""
            kind, what = self._meaning(error, answer.status)
            wait = error.retry_after
            if kind is ThrottledError and wait is None:
                wait = _MINUTE
            text = " ".join(part for part in (f"{self.name} {what}: HTTP {answer.status}", code) if part)
            raise kind(text, code=error.code, error_code=code, retry_after=wait) from None

    def raise_strange(self, what: str) -> NoReturn:
        raise InvalidAnswerError(f"{self.name} gave a strange answer: {what}", code="invalid")

    def _meaning(self, error: ApiError, status: int) -> tuple[type[ApiError], str]:
        if isinstance(error, ThrottledError):
            return ThrottledError, "asks for fewer requests"
        if isinstance(error, CredentialsError) or status in self.refusals:
            return CredentialsError, "refused the credentials"
        if isinstance(error, BackendError) and status >= 500:
            return BackendError, "is in trouble"
        return InvalidAnswerError, "gave a strange answer"


def _again(error: ApiError, text: str, retry_after: float | None = None) -> ApiError:
    return type(error)(text, code=error.code, error_code=error.error_code, retry_after=retry_after)


def _nobody(request: PreparedRequest) -> PreparedRequest:
    """No credentials: neither the session's own nor those of a netrc file."""
    return request


def _life(issued: object, expires: object, now: float) -> float:
    """Seconds; by the issuer's own clock where it told both times, so that ours may be wrong."""
    end = _epoch(expires)
    if end is None:
        return _ASSUMED_LIFE
    start = _epoch(issued)
    life = end - (now if start is None else start)
    return min(max(life, 1.0), _LONGEST_LIFE) if life > 0 else _ASSUMED_LIFE


def _epoch(text: object) -> float | None:
    try:
        time = datetime.fromisoformat(_text(text))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _when(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
