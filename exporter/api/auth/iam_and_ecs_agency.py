"""Credentials that are fetched: tokens from IAM, and keys from the metadata service of a machine."""

import re
import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final, Generic, NoReturn, TypeVar

import requests
from requests.models import PreparedRequest

from exporter.api.auth.circuit_breaker import MINUTE
from exporter.api.auth.credentials_base import (
    HEADER_SAFE,
    MAX_TOKEN_BYTES,
    TOKEN_HEADER,
    AuthOptions,
    Credentials,
)
from exporter.api.auth.token_and_access_key import SECURITY_TOKEN_HEADER, Keys
from exporter.api.auth.token_cache import CachedToken
from exporter.api.http import Response, exchange, new_session, prepare
from exporter.api.parsers import text
from exporter.api.response_errors import parse_response
from exporter.config import PasswordAuth
from exporter.errors import (
    ApiError,
    BackendError,
    CredentialsError,
    InvalidResponseError,
    ThrottledError,
    UnreachableError,
)
from exporter.redaction import register

T = TypeVar("T")

METADATA_KEY: Final = "auth.ecs_agency.metadata_endpoint"
"""The configuration key of the metadata service's address."""

_METADATA_TIMEOUT_S: Final = 3.0
_ERROR_CODE: Final = re.compile(r"[A-Z]{2,12}(\.[A-Z]{1,12}){0,3}\.\d{2,12}")
_MAX_LIFETIME_S: Final = 24 * 60 * MINUTE  # documented for tokens and temporary keys
_DEFAULT_LIFETIME_S: Final = 60 * MINUTE  # for responses without an expiry, or with an impossible one


@dataclass(frozen=True)
class CredentialEndpoint:
    """A service that issues credentials. Redirects are not followed, and responses are limited in size.

    Attributes:
        name: as errors call it.
        address_key: the configuration key of its address.
        timeout: seconds, to connect and between two pieces of a response.
        refusal_statuses: the HTTP statuses that mean refused credentials.
        refusals_have_codes: a refusal has an error code; without one it comes from a proxy or firewall.
    """

    name: str
    address_key: str
    session: requests.Session
    timeout: float
    refusal_statuses: frozenset[int]
    refusals_have_codes: bool = True

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, json: object = None
    ) -> Response:
        """Send a request without credentials and return the response, whatever its status."""
        request = requests.Request(method, url, headers=dict(headers or {}), json=json)
        try:
            prepared = prepare(self.session, request)
            return exchange(self.session, prepared, timeout=self.timeout, max_bytes=MAX_TOKEN_BYTES)
        except UnreachableError as error:
            reason = "did not respond in time" if error.code == "timeout" else f"cannot be reached: {error}"
            error.address_key = self.address_key
            raise error.reworded(f"{self.name} {reason}") from None
        except InvalidResponseError as error:
            self.raise_unexpected(str(error))

    def parse(self, response: Response) -> object:
        """Return the JSON of a successful response; errors repeat nothing of the response but its code."""
        try:
            return parse_response(response.status, response.headers, response.body)
        except ApiError as error:
            code = error.error_code if _ERROR_CODE.fullmatch(error.error_code) else ""
            kind, meaning = self._meaning(error, response.status)
            default_wait_s = MINUTE if kind is ThrottledError else None
            raise kind(
                f"{self.name} {meaning}: HTTP {response.status} {code}".rstrip(),
                code=error.code,
                error_code=code,
                retry_after=default_wait_s if error.retry_after is None else error.retry_after,
                address_key=self.address_key,
            ) from None

    def raise_unexpected(self, detail: str) -> NoReturn:
        """Raise the error for a response that holds no credentials."""
        message = f"{self.name} sent an unexpected response: {detail}"
        raise InvalidResponseError(message, code="invalid", address_key=self.address_key)

    def _meaning(self, error: ApiError, status: int) -> tuple[type[ApiError], str]:
        if isinstance(error, ThrottledError):
            return ThrottledError, "is throttling requests"
        has_code = bool(error.error_code) or not self.refusals_have_codes
        if isinstance(error, CredentialsError) or (status in self.refusal_statuses and has_code):
            return CredentialsError, "refused the credentials"
        if isinstance(error, BackendError) and status >= 500:
            return BackendError, "failed"
        return InvalidResponseError, "sent an unexpected response"


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


class FetchedCredentials(Credentials, Generic[T]):
    """Credentials that expire and are fetched again: early, and once after a 401."""

    _header: ClassVar[str]

    def __init__(self, options: AuthOptions, *, renew_before_s: float) -> None:
        super().__init__(options)
        self._cache = CachedToken(self._fetch, options.clock, renew_before_s)
        self._deciding = threading.Lock()
        self._renewed_after_refusal = False

    @abstractmethod
    def _fetch(self) -> tuple[T, float]:
        """Return a new value and its lifetime in seconds; raises `ApiError`."""

    @abstractmethod
    def _header_value(self, value: T) -> str:
        """Return what a request that uses this value carries in ``_header``."""

    def _has_others(self, request: PreparedRequest, operation_only: bool) -> bool:
        """Renew the refused value unless another thread has; a second refusal in a row starts the pause."""
        refused = str(request.headers.get(self._header))
        with self._deciding:
            if not self._cache.invalidate(lambda value: self._header_value(value) == refused):
                if self._breaker.is_paused():
                    return False
            elif self._renewed_after_refusal:
                return super()._has_others(request, operation_only)
            else:
                self._renewed_after_refusal = True
                self._breaker.credentials_replaced()
        try:
            has_changed = self._header_value(self._cache.value()) != refused
        except ApiError:
            return False
        return has_changed or super()._has_others(request, operation_only)

    def accepted(self, operation: str) -> None:
        """Record that the credentials are valid: they may be renewed once when they are refused."""
        self._renewed_after_refusal = False
        super().accepted(operation)

    def expires_at(self) -> float | None:
        """Expiry as the issuer reported it."""
        return self._cache.expires_at()


class PasswordCredentials(FetchedCredentials[str]):
    """A user and a password, exchanged for a token at IAM."""

    _header = TOKEN_HEADER

    def __init__(
        self,
        user: PasswordAuth,
        iam_endpoint: str,
        session: requests.Session,
        timeout: float,
        options: AuthOptions,
    ) -> None:
        super().__init__(options, renew_before_s=10 * MINUTE)
        self._user = user
        refusals = frozenset({400, 401, 403})
        self._iam = CredentialEndpoint(f"IAM at {iam_endpoint}", "iam_endpoint", session, timeout, refusals)
        self._url = f"{iam_endpoint.rstrip('/')}/v3/auth/tokens?nocatalog=true"

    def _authorize(self, request: PreparedRequest) -> None:
        request.headers[TOKEN_HEADER] = self._cache.value()

    def _header_value(self, value: str) -> str:
        return value

    def _fetch(self) -> tuple[str, float]:
        password = self._user.password.get_secret_value()
        user = {"name": self._user.username, "password": password, "domain": {"name": self._user.domain}}
        login = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self._user.project}},
        }
        requested_at = self._clock()
        response = self._iam.send("POST", self._url, json={"auth": login})
        attributes = _member(self._iam.parse(response), "token")
        token = response.headers.get("X-Subject-Token", "")
        register(token, renewed=True)
        if not HEADER_SAFE.fullmatch(token):
            self._iam.raise_unexpected("X-Subject-Token holds no token")
        issued, expires = _member(attributes, "issued_at"), _member(attributes, "expires_at")
        return token, lifetime_s(issued, expires, requested_at)


class EcsAgencyCredentials(FetchedCredentials[Keys]):
    """Temporary keys of the machine, from its metadata service."""

    _header = SECURITY_TOKEN_HEADER

    def __init__(self, metadata_endpoint: str, options: AuthOptions) -> None:
        super().__init__(options, renew_before_s=40 * MINUTE)
        self._endpoint = metadata_endpoint.rstrip("/")

    def _authorize(self, request: PreparedRequest) -> None:
        self._cache.value().sign(request, self._clock())

    def _header_value(self, value: Keys) -> str:
        return value.security_token

    def _fetch(self) -> tuple[Keys, float]:
        with new_session() as session:
            session.trust_env = False  # a link-local address; a proxy must not see the keys
            service = CredentialEndpoint(
                f"the metadata service at {self._endpoint}",
                METADATA_KEY,
                session,
                _METADATA_TIMEOUT_S,
                refusal_statuses=frozenset({400, 401, 403, 404}),  # 404: the machine has no agency
                refusals_have_codes=False,
            )
            requested_at = self._clock()
            url = f"{self._endpoint}/openstack/latest/securitykey"
            response = service.send("GET", url, headers=self._token_header(service))
        keys = _member(service.parse(response), "credential")
        access, secret, token = (text(_member(keys, name)) for name in ("access", "secret", "securitytoken"))
        register(secret, token, renewed=True)
        if not (HEADER_SAFE.fullmatch(access) and secret and HEADER_SAFE.fullmatch(token)):
            service.raise_unexpected("no keys")
        return Keys(access, secret, token), lifetime_s(None, _member(keys, "expires_at"), requested_at)

    def _token_header(self, service: CredentialEndpoint) -> dict[str, str]:
        url = f"{self._endpoint}/meta-data/latest/api/token"
        response = service.send("PUT", url, headers={"X-Metadata-Token-Ttl-Seconds": "21600"})
        if response.status in (404, 405, 503):  # an older metadata service without tokens
            return {}
        if response.status != 200:
            service.parse(response)
        token = response.body.decode("ascii", "replace").strip()
        register(token, renewed=True)
        if not HEADER_SAFE.fullmatch(token):
            service.raise_unexpected("no token")
        return {"X-Metadata-Token": token}


def lifetime_s(issued: object, expires: object, now: float) -> float:
    """Seconds until the expiry; by the issuer's own clock if it sent both times, since ours may be wrong."""
    end = _epoch(expires)
    if end is None:
        return _DEFAULT_LIFETIME_S
    start = _epoch(issued)
    lifetime = end - (now if start is None else start)
    return min(max(lifetime, 1.0), _MAX_LIFETIME_S) if lifetime > 0 else _DEFAULT_LIFETIME_S


def _epoch(value: object) -> float | None:
    try:
        timestamp = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).timestamp()
