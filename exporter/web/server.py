"""The HTTP server, and the sockets that it listens on."""

import asyncio
import errno
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp

from exporter.errors import ConfigError, ExporterError
from exporter.web.connection import KEEP_ALIVE_S, HttpConnection, connection_factory
from exporter.web.web_config_middleware import WebConfigMiddleware
from exporter.web.web_config_watcher import WatchedConfig

_SHUTDOWN_GRACE_S: Final = 1

_TICKS_PER_SECOND: Final = 10

MAX_CONNECTIONS: Final = 512
"""Default limit, however many file descriptors there are: each connection takes memory."""


class WebServer(uvicorn.Server):
    """uvicorn with TLS and connection limits of the exporter's own; signals are handled by the command line.

    Args:
        app: answers requests.
        config: plain HTTP without authentication by default.
        max_connections: open at once; one more closes another one.
    """

    def __init__(
        self, app: ASGIApp, config: WatchedConfig | None = None, max_connections: int = MAX_CONNECTIONS
    ) -> None:
        config = config or WatchedConfig()
        super().__init__(
            uvicorn.Config(
                WebConfigMiddleware(app, config),
                http=cast("type[asyncio.Protocol]", connection_factory(config, max_connections)),
                ws="none",
                lifespan="off",
                loop="uvloop",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=_SHUTDOWN_GRACE_S,
            )
        )

    async def on_tick(self, counter: int) -> bool:
        """Run uvicorn's housekeeping ten times a second, and once a second that of the connections."""
        if counter % _TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                cast("HttpConnection", connection).abort_if_stuck(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


def bind(addresses: Sequence[str]) -> list[socket.socket]:
    """Listen on ``host:port`` addresses; ``:port`` is every interface, port 0 any free port.

    Raises:
        ConfigError: an address is invalid.
        ExporterError: an address cannot be listened on.
    """
    parsed = [(address, *_host_and_port(address)) for address in addresses]
    sockets: list[socket.socket] = []
    for address, host, port in parsed:
        try:
            sockets.append(_listen(host, port))
        except OSError as error:
            for opened in sockets:
                opened.close()
            raise ExporterError(f"cannot listen on {address}: {_reason(error)}") from None
    return sockets


def _reason(error: OSError) -> str:
    if error.errno and error.errno < 0:  # an error of getaddrinfo; system errors are positive
        return "the host name does not resolve"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason} (--web.listen-address selects another)" if error.errno == errno.EADDRINUSE else reason


def address_of(listening: socket.socket) -> str:
    """Return the ``host:port`` of a socket, with the port that the system chose for port 0."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(address: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^:\[\]]*)):(\d{1,5})", address)
    if not match or int(match[3]) > 65535:
        raise ConfigError(f'--web.listen-address: "{address}" is not host:port, as in :10088 or [::1]:10088')
    return match[1] or match[2] or "", int(match[3])


def _listen(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)
