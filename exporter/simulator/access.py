"""Who may ask: tokens, access keys, and the lock on a key that failed too often.

Rests on the documents (tokens, 401), the provider's signing guide (15 minutes, five failures lock a key for
five minutes) and guesses for the wording of errors.
"""

import threading
from dataclasses import dataclass, field
from typing import Final

from exporter.simulator.answer import RefusalError, Request, error_answer
from exporter.simulator.clock import Clock
from exporter.simulator.identity import hex_id
from exporter.simulator.signing import read_claim, read_date, unsigned_headers, verify

DATE_WINDOW_MS: Final = 15 * 60_000
LOCK_MS: Final = 5 * 60_000
LOCK_AFTER: Final = 5
LOCKED: Final = "AK access failed to reach the limit,forbidden"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair; temporary ones have a security token and an end, in ms since the epoch."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the service accepts; the defaults are made up and the same everywhere.

    Attributes:
        project: the project a token is scoped to; region names are projects.
        tokens: tokens that never expire by themselves.
        token_lifetime_s: for tokens got by password.
        key_lifetime_s: for temporary keys got from the metadata service.
    """

    domain: str = "example"
    username: str = "exporter"
    password: str = field(default="example-password", repr=False)
    project: str = "cn-north-4"
    project_id: str = "0123456789abcdef0123456789abcdef"
    access_keys: tuple[AccessKey, ...] = (AccessKey("EXAMPLE-ACCESS-KEY", "example-secret-key"),)
    tokens: tuple[str, ...] = ("example-token",)
    token_lifetime_s: float = 86_400.0
    key_lifetime_s: float = 86_400.0


class Access:
    """Issues and checks credentials. Safe to use from several threads.

    Args:
        credentials: what is accepted.
        clock: the fleet's; locks run by it.
        caller_clock: the callers'; dates of signatures, tokens and keys run by it.
        seed: from which issued tokens and keys follow.
    """

    def __init__(self, credentials: Credentials, clock: Clock, caller_clock: Clock, seed: int) -> None:
        self.credentials = credentials
        self._clock = clock
        self._caller_clock = caller_clock
        self._seed = seed
        self._lock = threading.Lock()
        self._issued = 0
        self._tokens: dict[str, int | None] = dict.fromkeys(credentials.tokens)
        self._keys = {key.access_key: key for key in credentials.access_keys}
        self._failures: dict[str, int] = {}
        self._locked_until: dict[str, int] = {}

    def issue_token(self) -> tuple[str, int]:
        """A new token and when it expires, in ms since the epoch."""
        with self._lock:
            self._issued += 1
            token = "MIIS" + hex_id(self._seed, "token", self._issued) * 4
            expires_ms = self._caller_clock.now_ms() + round(self.credentials.token_lifetime_s * 1000)
            self._tokens[token] = expires_ms
            return token, expires_ms

    def issue_key(self) -> AccessKey:
        """A new temporary key."""
        with self._lock:
            self._issued += 1
            access = hex_id(self._seed, "access", self._issued)[:20].upper()
            secret, token = (hex_id(self._seed, part, self._issued) for part in ("secret", "session"))
            expires_ms = self._caller_clock.now_ms() + round(self.credentials.key_lifetime_s * 1000)
            key = AccessKey(access, secret, token * 4, expires_ms)
            self._keys[access] = key
            return key

    def expire(self) -> None:
        """Ends every token and every temporary key that is out; fixed tokens too."""
        with self._lock:
            self._tokens = {}
            self._keys = {name: key for name, key in self._keys.items() if key.security_token is None}

    def check(self, request: Request) -> None:
        """Lets a request pass.

        Raises:
            RefusalError: 401, with the gateway's body.
        """
        if token := request.headers.get("x-auth-token"):
            self._check_token(token)
        elif authorization := request.headers.get("authorization"):
            self._check_signature(request, authorization)
        else:
            raise _unauthorized("decrypt token fail")

    def is_locked(self, name: str) -> bool:
        """Whether an access key or a user has failed too often of late."""
        return self._locked_until.get(name, 0) > self._clock.now_ms()

    def note(self, name: str, passed: bool) -> None:
        """Counts failures in a row of an access key or a user, and locks it at the fifth."""
        with self._lock:
            self._failures[name] = 0 if passed else self._failures.get(name, 0) + 1
            if self._failures[name] >= LOCK_AFTER:
                self._failures[name] = 0
                self._locked_until[name] = self._clock.now_ms() + LOCK_MS

    def _check_token(self, token: str) -> None:
        if token not in self._tokens:
            raise _unauthorized("decrypt token fail")
        expires_ms = self._tokens[token]
        if expires_ms is not None and expires_ms <= self._caller_clock.now_ms():
            raise _unauthorized("token expires")

    def _check_signature(self, request: Request, authorization: str) -> None:
        claim = read_claim(authorization)
        if claim is None:
            raise _unauthorized("Authorization format is incorrect")
        if self.is_locked(claim.access_key):
            raise _unauthorized(LOCKED)
        key = self._keys.get(claim.access_key)
        wrong = "ak not exist" if key is None else self._wrong_date(request, key)
        if not wrong and key is not None:
            wrong = _wrong_headers(request, key)
            if not wrong and (unsigned := unsigned_headers(request, claim)):
                wrong = f"not signed: {', '.join(unsigned)}"
            if not wrong and not verify(request, claim, key.secret_key):
                wrong = "verify aksk signature fail"
        self.note(claim.access_key, passed=not wrong)
        if wrong:
            raise _unauthorized(wrong)

    def _wrong_date(self, request: Request, key: AccessKey) -> str:
        now_ms = self._caller_clock.now_ms()
        date_ms = read_date(request.headers.get("x-sdk-date", ""))
        if date_ms is None:
            return "x-sdk-date is missing or not a date"
        if abs(now_ms - date_ms) > DATE_WINDOW_MS:
            return "signature expired"
        return "securitytoken expired" if key.expires_ms is not None and key.expires_ms <= now_ms else ""


def _wrong_headers(request: Request, key: AccessKey) -> str:
    if request.headers.get("x-security-token") != key.security_token:
        return "securitytoken is missing or does not belong to the key"
    project_id = request.headers.get("x-project-id")
    if project_id is not None and (len(project_id) != 32 or not project_id.isalnum()):
        return "x-project-id is not a project id"
    return ""


def _unauthorized(why: str) -> RefusalError:
    message = f"Incorrect IAM authentication information: {why}"
    return RefusalError(error_answer(401, "APIGW.0301", message))
