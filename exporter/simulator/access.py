"""Authentication: tokens, keys, signatures, IAM, and the lock after failed attempts.

Rests on the documents (tokens, 401), the provider's signing guide (15 minutes, five failures lock a key for
five minutes) and guesses for the wording of errors.
"""

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

from exporter.simulator.builds import hex_id
from exporter.simulator.exchange import RefusalError, Request, Response, error_response, json_response
from exporter.simulator.fleet import Clock

DATE_WINDOW_MS: Final = 15 * 60_000
LOCK_MS: Final = 5 * 60_000
LOCK_AFTER: Final = 5

LOCKED: Final = "AK access failed to reach the limit,forbidden"
WRONG_PASSWORD: Final = "The username or password is wrong."  # noqa: S105 - a message, not a password

ALGORITHM: Final = "SDK-HMAC-SHA256"
AUTHORIZATION: Final = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,\s]+), ?SignedHeaders=(?P<signed>[^,\s]+), ?"
    r"Signature=(?P<hex>[0-9a-f]{64})"
)
MUST_BE_SIGNED: Final = ("host", "x-sdk-date", "x-project-id", "x-security-token")


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair; temporary ones have a security token and an expiry, in ms since the epoch."""

    access_key: str
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The credentials that the service accepts; the defaults are made up.

    Region names are projects, which are the scope of a token. ``tokens`` do not expire by themselves.
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

    Locks run by the fleet's clock; signatures, tokens and keys are dated by the callers'.
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
        """Issue a token; return it and its expiry, in ms since the epoch."""
        with self._lock:
            self._issued += 1
            token = "MIIS" + hex_id(self._seed, "token", self._issued) * 4
            expires_ms = self._caller_clock.now_ms() + round(self.credentials.token_lifetime_s * 1000)
            self._tokens[token] = expires_ms
            return token, expires_ms

    def issue_key(self) -> AccessKey:
        """Issue a temporary key."""
        with self._lock:
            self._issued += 1
            access = hex_id(self._seed, "access", self._issued)[:20].upper()
            secret, token = (hex_id(self._seed, part, self._issued) for part in ("secret", "session"))
            expires_ms = self._caller_clock.now_ms() + round(self.credentials.key_lifetime_s * 1000)
            key = AccessKey(access, secret, token * 4, expires_ms)
            self._keys[access] = key
            return key

    def expire(self) -> None:
        """Expire all tokens, configured ones too, and all temporary keys."""
        with self._lock:
            self._tokens = {}
            self._keys = {name: key for name, key in self._keys.items() if key.security_token is None}

    def check(self, request: Request) -> None:
        """Check the credentials of a request.

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
        """Return whether an access key or a user is locked after failed attempts."""
        return self._locked_until.get(name, 0) > self._clock.now_ms()

    def record_attempt(self, name: str, passed: bool) -> None:
        """Count consecutive failures of an access key or a user, and lock it at the fifth."""
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
        claim = parse_claim(authorization)
        if claim is None:
            raise _unauthorized("Authorization format is incorrect")
        if self.is_locked(claim.access_key):
            raise _unauthorized(LOCKED)
        key = self._keys.get(claim.access_key)
        if key is None:
            problem = "ak not exist"
        else:
            problem = self._date_problem(request, key) or _header_problem(request, claim, key)
            if not problem and not verify(request, claim, key.secret_key):
                problem = "verify aksk signature fail"
        self.record_attempt(claim.access_key, passed=not problem)
        if problem:
            raise _unauthorized(problem)

    def _date_problem(self, request: Request, key: AccessKey) -> str:
        now_ms = self._caller_clock.now_ms()
        date_ms = parse_date(request.headers.get("x-sdk-date", ""))
        if date_ms is None:
            return "x-sdk-date is missing or not a date"
        if abs(now_ms - date_ms) > DATE_WINDOW_MS:
            return "signature expired"
        return "securitytoken expired" if key.expires_ms is not None and key.expires_ms <= now_ms else ""


def _header_problem(request: Request, claim: "Claim", key: AccessKey) -> str:
    if request.headers.get("x-security-token") != key.security_token:
        return "securitytoken is missing or does not belong to the key"
    project_id = request.headers.get("x-project-id")
    if project_id is not None and (len(project_id) != 32 or not project_id.isalnum()):
        return "x-project-id is not a project id"
    unsigned = [
        name for name in MUST_BE_SIGNED if name in request.headers and name not in claim.signed_headers
    ]
    return f"not signed: {', '.join(unsigned)}" if unsigned else ""


def _unauthorized(problem: str) -> RefusalError:
    message = f"Incorrect IAM authentication information: {problem}"
    return RefusalError(error_response(401, "APIGW.0301", message))


@dataclass(frozen=True, slots=True)
class Claim:
    """The contents of an ``Authorization`` header."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_claim(authorization: str) -> Claim | None:
    """Parse the header; None if it is of another algorithm."""
    match = AUTHORIZATION.fullmatch(authorization)
    if match is None:
        return None
    return Claim(match["access"], tuple(match["signed"].split(";")), match["hex"])


def parse_date(text: str) -> int | None:
    """Parse ``20260102T030405Z`` to milliseconds since the epoch; None if it is invalid."""
    try:
        return round(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return None


def signature_of(request: Request, signed_headers: tuple[str, ...], secret_key: str) -> str:
    """The signature that the request should carry, in hex."""
    path, _, query = request.target.partition("?")
    headers = [f"{name}:{_value(request.headers, name)}" for name in signed_headers]
    body = hashlib.sha256(request.body).hexdigest()
    lines = [request.method, _canonical_path(path), _canonical_query(query), *headers]
    canonical = "\n".join((*lines, "", ";".join(signed_headers), body))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{_value(request.headers, 'x-sdk-date')}\n{digest}"
    return hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def verify(request: Request, claim: Claim, secret_key: str) -> bool:
    """Return whether the signature is valid over the headers it names."""
    expected = signature_of(request, claim.signed_headers, secret_key)
    return hmac.compare_digest(expected, claim.signature)


def _value(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "").strip()


def _canonical_path(path: str) -> str:
    encoded = "/".join(quote(unquote(segment), safe="~") for segment in path.split("/"))
    return encoded if encoded.endswith("/") else encoded + "/"


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    decoded = sorted((unquote(name), unquote(value)) for name, value in pairs)
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in decoded)


def token_response(access: Access, request: Request) -> Response:
    """Issue a token for a password: 201, with the token in ``X-Subject-Token``."""
    try:
        login = _parse_login(json.loads(request.body))
    except (ValueError, KeyError, TypeError):
        return error_response(400, "IAM.0001", "The request body is not a password login.", "iam")
    user = login["username"]
    if access.is_locked(user):
        return error_response(401, "IAM.0061", LOCKED, "iam")
    known = access.credentials
    passed = login == {name: getattr(known, name) for name in ("domain", "username", "password", "project")}
    access.record_attempt(user, passed=passed)
    if not passed:
        return error_response(401, "IAM.0061", WRONG_PASSWORD, "iam")
    token, expires_ms = access.issue_token()
    project = {"id": known.project_id, "name": known.project}
    body = {"token": {"expires_at": _timestamp(expires_ms), "methods": ["password"], "project": project}}
    response = json_response(body, 201)
    response.headers["X-Subject-Token"] = token
    return response


def metadata_token_response(request: Request) -> Response:
    """The session token of the metadata service, as plain text."""
    lifetime = request.headers.get("x-metadata-token-ttl-seconds", "")
    if not lifetime.isdecimal() or not 1 <= int(lifetime) <= 21_600:
        return Response(400, b"Bad Request", "text/plain")
    return Response(200, hex_id(0, "metadata", lifetime).encode(), "text/plain")


def key_response(access: Access) -> Response:
    """Temporary keys of the server's agency."""
    key = access.issue_key()
    credential = {
        "access": key.access_key,
        "secret": key.secret_key,
        "securitytoken": key.security_token,
        "expires_at": _timestamp(key.expires_ms or 0),
    }
    return json_response({"credential": credential})


def _parse_login(body: dict[str, dict[str, dict[str, object]]]) -> dict[str, str]:
    identity, scope = body["auth"]["identity"], body["auth"]["scope"]
    password, project = identity["password"], scope["project"]
    if identity["methods"] != ["password"] or not isinstance(password, dict) or not isinstance(project, dict):
        raise ValueError("not a password login")
    user = password["user"]
    return {
        "domain": str(user["domain"]["name"]),
        "username": str(user["name"]),
        "password": str(user["password"]),
        "project": str(project["name"]),
    }


def _timestamp(at_ms: int) -> str:
    time = datetime.fromtimestamp(at_ms / 1000, UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
