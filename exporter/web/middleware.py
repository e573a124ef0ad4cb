"""What every request passes first: the rate limit, the password; and what every answer carries."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Protocol

from pydantic import SecretStr
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.basic_auth import Comparison, Passwords, compare
from exporter.web.protocol import is_gone
from exporter.web.web_config import RateLimit, WebConfig

_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="codearts-build-exporter", charset="UTF-8"'}


class Current(Protocol):
    """Whoever knows the web configuration in force."""

    @property
    def current(self) -> WebConfig:
        """A new object whenever it has changed."""


class Guard:
    """An ASGI application in front of another.

    Args:
        app: is asked only for who may come in.
        config: is looked at with each request.
        comparison: holds a password against a bcrypt hash, on a thread.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        app: ASGIApp,
        config: Current,
        comparison: Comparison = compare,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._config = config
        self._passwords = Passwords(comparison)
        self._monotonic = monotonic
        self._rules = self._rules_of(config.current)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._rules.config is not self._config.current:
            self._rules = self._rules_of(self._config.current)
        rules = self._rules
        if rules.headers:
            send = _with_headers(send, rules.headers)
        try:
            await self._answer(rules, scope, receive, send)
        except asyncio.CancelledError:
            # The server ends, and waits no longer. An answer that has begun is cut off by uvicorn.
            with suppress(RuntimeError):
                await PlainTextResponse("the exporter ends\n", 503)(scope, receive, send)

    async def _answer(self, rules: "_Rules", scope: Scope, receive: Receive, send: Send) -> None:
        if rules.bucket and not rules.bucket.take():
            await PlainTextResponse("Too Many Requests\n", 429)(scope, receive, send)
        elif rules.users and (status := await self._check(rules.users, scope)) is not HTTPStatus.OK:
            challenge = _CHALLENGE if status is HTTPStatus.UNAUTHORIZED else None
            await PlainTextResponse(f"{status.phrase}\n", status, challenge)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _check(self, users: Mapping[bytes, SecretStr], scope: Scope) -> HTTPStatus:
        return await self._passwords.check(
            users, _authorization(scope), _caller(scope), lambda: is_gone(scope)
        )

    def _rules_of(self, config: WebConfig) -> "_Rules":
        return _Rules(config, self._monotonic)


class _Rules:
    """What follows from one configuration."""

    def __init__(self, config: WebConfig, monotonic: Callable[[], float]) -> None:
        self.config = config
        self.headers = [
            (name.lower().encode(), value.encode())
            for name, value in config.http_server_config.headers.items()
        ]
        self.users = config.users
        self.bucket = _Bucket(config.rate_limit, monotonic) if config.rate_limit.interval else None


class _Bucket:
    """Tokens that come back one by one."""

    def __init__(self, limit: RateLimit, monotonic: Callable[[], float]) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst)
        self._at = monotonic()

    def take(self) -> bool:
        """Whether there was a token."""
        now = self._monotonic()
        back = (now - self._at) / self._limit.interval
        self._tokens, self._at = min(float(self._limit.burst), self._tokens + back), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    """These headers in place of any of the same names."""
    names = {name for name, _ in headers}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message["headers"] if name.lower() not in names]
            message = {**message, "headers": [*own, *headers]}
        await send(message)

    return sending


def _authorization(scope: Scope) -> bytes:
    found: bytes = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return found


def _caller(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""
