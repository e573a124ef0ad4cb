"""The web configuration applied to every request: rate limit, authentication, response headers."""

import asyncio
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.web.basic_auth import BasicAuth, Comparison, compare
from exporter.web.connection import is_disconnected
from exporter.web.web_config import RateLimit, WebConfig
from exporter.web.web_config_watcher import WatchedConfig

_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="codearts-build-exporter", charset="UTF-8"'}


class WebConfigMiddleware:
    """ASGI middleware that applies the web configuration.

    Args:
        app: answers the requests that are admitted.
        config: is read for each request.
        comparison: compares a password with a bcrypt hash, on a thread.
    """

    def __init__(self, app: ASGIApp, config: WatchedConfig, comparison: Comparison = compare) -> None:
        self._app = app
        self._config = config
        self._auth = BasicAuth(comparison)
        self._apply(config.current)

    def _apply(self, config: WebConfig) -> None:
        self._applied = config
        self._users = config.users
        self._headers = [
            (name.lower().encode(), value.encode())
            for name, value in config.http_server_config.headers.items()
        ]
        self._bucket = _TokenBucket(config.rate_limit) if config.rate_limit.interval else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._applied is not self._config.current:
            self._apply(self._config.current)
        if self._headers:
            send = _with_headers(send, self._headers)
        try:
            await self._answer(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops and waits no longer. uvicorn cuts off a response that has begun.
            with suppress(RuntimeError):
                await PlainTextResponse("the exporter is shutting down\n", 503)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._bucket and not self._bucket.take():
            await PlainTextResponse("Too Many Requests\n", 429)(scope, receive, send)
        elif self._users and (status := await self._authenticate(scope)) is not HTTPStatus.OK:
            challenge = _CHALLENGE if status is HTTPStatus.UNAUTHORIZED else None
            await PlainTextResponse(f"{status.phrase}\n", status, challenge)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> HTTPStatus:
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        address = scope["client"][0] if scope.get("client") else ""
        return await self._auth.check(self._users, authorization, address, lambda: is_disconnected(scope))


class _TokenBucket:
    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._tokens = float(limit.burst)
        self._updated_at = time.monotonic()

    def take(self) -> bool:
        """Take a token if there is one."""
        now = time.monotonic()
        refilled = self._tokens + (now - self._updated_at) / self._limit.interval
        self._tokens, self._updated_at = min(float(self._limit.burst), refilled), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    """Add headers to a response in place of its own with the same names."""
    names = {name for name, _ in headers}

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name, value) for name, value in message["headers"] if name.lower() not in names]
            message = {**message, "headers": [*own, *headers]}
        await send(message)

    return send_with_headers
