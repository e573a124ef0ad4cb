"""The way in: each connection is met with the TLS, or without, that is in force when it comes."""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any, Final

from exporter.web.config.tls import names_in
from exporter.web.guard import Current
from exporter.web.protocol import BoundedProtocol

HANDSHAKE_WITHIN_S: Final = 10
_GOODBYE_WITHIN_S: Final = 5


def door(config: Current) -> Callable[..., asyncio.Protocol | asyncio.BufferedProtocol]:
    """Makes the protocol of a connection, called by uvicorn in place of a protocol's class.

    `asyncio.Server` knows one TLS context for good. Here it is a matter of the connection, so that new
    certificates and rules hold for new connections, and those that are there go on.
    """

    def opened(**given: Any) -> asyncio.Protocol | asyncio.BufferedProtocol:
        tls = config.current.tls_server_config
        if tls is None:
            return BoundedProtocol(**given)
        return TlsProtocol(NamedProtocol(tls.client_allowed_sans, **given), tls.context)

    return opened


class TlsProtocol(SSLProtocol):
    """TLS on a connection: what `asyncio` itself puts between a socket and a protocol.

    uvicorn knows it as one of its connections until it is lost, so that nobody who is still at the handshake
    can hold up its end.

    Args:
        http: is given the connection after the handshake.
        context: what the handshake goes by.
    """

    def __init__(self, http: "NamedProtocol", context: ssl.SSLContext) -> None:
        super().__init__(
            http.loop,
            http,
            context,
            waiter=None,  # type: ignore[arg-type] # as for any connection to a server
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_WITHIN_S,
            ssl_shutdown_timeout=_GOODBYE_WITHIN_S,
        )
        self._http = http

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a stream
        """Begin the handshake."""
        self._http.socket = transport
        self._http.connections.add(self)  # type: ignore[arg-type] # asked only for what is below
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nobody is there any more."""
        self._http.connections.discard(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Asked by uvicorn to end: a handshake at once; an answer under way is up to HTTP."""
        if self._http.socket is not None and self._http.transport is None:
            self._http.socket.close()

    def cut_off_if_stuck(self, now: float) -> None:
        """Handshakes and goodbyes have time-outs of their own."""


class NamedProtocol(BoundedProtocol):
    """HTTP for clients whose verified certificate has one of the names that are allowed, if some are."""

    def __init__(self, allowed: tuple[str, ...], **given: Any) -> None:
        super().__init__(**given)
        self._allowed = allowed
        self._is_welcome = False
        self.socket: asyncio.Transport | None = None
        """What lies below TLS."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """The handshake is over."""
        super().connection_made(transport)
        peer: ssl.SSLObject = transport.get_extra_info("ssl_object")
        names = names_in(peer.getpeercert() or {}) if self._allowed else frozenset()
        self._is_welcome = not self._allowed or not names.isdisjoint(self._allowed)
        if not self._is_welcome:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the client has been turned away."""
        if self._is_welcome:
            super().data_received(data)

    def unread(self) -> int:
        """TLS hands much of an answer on at once; what counts is both above and below it."""
        return super().unread() + (self.socket.get_write_buffer_size() if self.socket else 0)
