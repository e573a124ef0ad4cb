"""Sockets and the server on them."""

import asyncio
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp

from exporter.errors import ConfigError, ExporterError
from exporter.web.config_watcher import WatchedConfig
from exporter.web.connection import door
from exporter.web.middleware import Current, Guard
from exporter.web.protocol import IDLE_FOR_S, BoundedProtocol

_GRACE_S = 1
_TICKS = 10

MOST_CONNECTIONS: Final = 512
"""At once, however many descriptors there are: each takes memory."""


class WebServer(uvicorn.Server):
    """uvicorn, with signals left to the command line, which has more to stop than this.

    Args:
        app: answers requests.
        config: the web configuration in force; by default plain HTTP for everybody.
        most_connections: at once; one more closes the one that has been idle for the longest.
    """

    def __init__(
        self, app: ASGIApp, config: Current | None = None, most_connections: int = MOST_CONNECTIONS
    ) -> None:
        config = config or WatchedConfig()
        super().__init__(
            uvicorn.Config(
                Guard(app, config),
                http=cast("type[asyncio.Protocol]", door(config, most_connections)),
                ws="none",
                lifespan="off",
                loop="uvloop",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=IDLE_FOR_S,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: do uvicorn's chores, and once a second those of the connections."""
        if counter % _TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                cast("BoundedProtocol", connection).cut_off_if_stuck(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield


def bind(addresses: Sequence[str]) -> list[socket.socket]:
    """Listening sockets for ``host:port`` addresses; ``:port`` is every interface, port 0 any free port.

    Raises:
        ConfigError: an address cannot be read.
        ExporterError: an address cannot be listened on.
    """
    read = [(address, *_host_and_port(address)) for address in addresses]
    sockets: list[socket.socket] = []
    for address, host, port in read:
        try:
            sockets.append(_listen(host, port))
        except OSError as error:
            for other in sockets:
                other.close()
            raise ExporterError(f"cannot listen on {address}: {_why(error)}") from None
    return sockets


def _why(error: OSError) -> str:
    if error.errno and error.errno < 0:  # of getaddrinfo, whose numbers are not those of the system's errors
        return "the host name does not resolve"
    return os.strerror(error.errno) if error.errno else str(error)


def address_of(listening: socket.socket) -> str:
    """``host:port`` as it came out, with the port the system chose for port 0."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(address: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^:\[\]]*)):(\d{1,5})", address)
    if not found or int(found[3]) > 65535:
        raise ConfigError(f'--web.listen-address: "{address}" is not host:port, as in :10088 or [::1]:10088')
    return found[1] or found[2] or "", int(found[3])


def _listen(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)
