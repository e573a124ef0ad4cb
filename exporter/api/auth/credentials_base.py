"""The base class of all credentials, and what they share."""

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from requests.auth import AuthBase
from requests.models import PreparedRequest

from exporter.api.auth.circuit_breaker import CircuitBreaker, Clock, OperationBreaker
from exporter.errors import ApiError

TOKEN_HEADER: Final = "X-Auth-Token"  # noqa: S105 a header's name

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
