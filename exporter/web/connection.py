"""The way in: each connection is met with the TLS, or without, that is in force when it comes."""

import asyncio
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog

from exporter.web.middleware import Current
from exporter.web.protocol import BoundedProtocol
from exporter.web.tls import names_in

HANDSHAKE_WITHIN_S: Final = 10

_GOODBYE_WITHIN_S: Final = 5

_LOG_EVERY_S: Final = 60.0

_HTTP_STARTS: Final = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO")

_HTTP_REFUSAL: Final = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
"""What Go's server takes for HTTP, and its answer."""

_FORBIDDEN: Final = (
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"None of the certificate's names is allowed.\n"
)
"""Python's TLS can send no alert once the handshake is over."""

_log = structlog.get_logger(__name__)


class ConnectionLimit:
    """At most so many connections at once, so that descriptors are left for the API and the store.

    One more than that closes another one, of the address that holds the most: one without a request under
    way rather than one with, and the one that has been so for the longest.

    Args:
        most: connections.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[TlsProtocol | PlainProtocol] = set()

    def add(self, new: "TlsProtocol | PlainProtocol") -> None:
        """Take in a connection, which may cost another one."""
        if len(self._open) >= self._most:
            held = Counter(one.address for one in self._open)
            victim = min(self._open, key=lambda one: (-held[one.address], one.http.is_busy, one.http.since))
            self.discard(victim)
            victim.cut_off()
        self._open.add(new)

    def discard(self, one: "TlsProtocol | PlainProtocol") -> None:
        """A connection has ended."""
        self._open.discard(one)


class RefusedHandshakes:
    """Logs why handshakes fail: the first one, then at most one a minute."""

    def __init__(self) -> None:
        self._told_at: float | None = None
        self._untold = 0

    def add(self, client: str, error: str, now: float) -> None:
        """A handshake has failed; ``now`` is the loop's time in seconds."""
        if self._told_at is not None and now - self._told_at < _LOG_EVERY_S:
            self._untold += 1
            return
        _log.warning("tls_handshake_refused", client=client, error=error, others=self._untold)
        self._told_at, self._untold = now, 0


def door(config: Current, most: int) -> Callable[..., asyncio.Protocol | asyncio.BufferedProtocol]:
    """Makes the protocol of a connection, called by uvicorn in place of a protocol's class.

    `asyncio.Server` knows one TLS context for good. Here it is a matter of the connection, so that new
    certificates and rules hold for new connections, and those that are there go on.

    Args:
        config: is looked at with each connection.
        most: connections at once.
    """
    limit = ConnectionLimit(most)
    refused = RefusedHandshakes()

    def opened(**given: Any) -> asyncio.Protocol | asyncio.BufferedProtocol:
        tls = config.current.tls_server_config
        if tls is None:
            return PlainProtocol(limit, **given)
        http = NamedProtocol(tls.client_allowed_sans, refused, **given)
        return TlsProtocol(http, tls.context, limit, refused)

    return opened


def _address_of(transport: asyncio.Transport | None) -> str:
    peer = transport.get_extra_info("peername") if transport else None
    return peer[0] if peer else ""


class PlainProtocol(BoundedProtocol):
    """HTTP without TLS."""

    def __init__(self, limit: ConnectionLimit, **given: Any) -> None:
        super().__init__(**given)
        self._limit = limit
        self.address = ""

    @property
    def http(self) -> BoundedProtocol:
        """The protocol that answers."""
        return self

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.address = _address_of(transport)
        self._limit.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._limit.discard(self)
        super().connection_lost(exc)

    def cut_off(self) -> None:
        """Close it at once."""
        self.transport.abort()


class TlsProtocol(SSLProtocol):
    """TLS on a connection: what `asyncio` itself puts between a socket and a protocol.

    uvicorn knows it as one of its connections until it is lost, so that nobody who is still at the handshake
    can hold up its end.

    A handshake that fails ends as it does in Go: the alert that OpenSSL has ready is sent, or a 400 to a
    client that speaks plain HTTP. Then the client may close, within the time that a handshake has.

    Args:
        http: is given the connection after the handshake.
        context: what the handshake goes by.
        limit: of connections.
        refused: is told of handshakes that fail.
    """

    max_size = 32 * 1024
    """Bytes read at once, for which each connection has a buffer; requests are small."""

    def __init__(
        self,
        http: "NamedProtocol",
        context: ssl.SSLContext,
        limit: ConnectionLimit,
        refused: RefusedHandshakes,
    ) -> None:
        super().__init__(
            http.loop,
            http,
            context,
            waiter=None,  # type: ignore[arg-type] # as for any connection to a server
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_WITHIN_S,
            ssl_shutdown_timeout=_GOODBYE_WITHIN_S,
        )
        self.http = http
        self.address = ""
        self._limit = limit
        self._refused = refused
        self._first = b""
        self._has_failed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a stream
        """Begin the handshake."""
        self.http.socket = transport
        self.http.since = time.monotonic()
        self.http.connections.add(self)  # type: ignore[arg-type] # asked only for what is below
        self.address = _address_of(transport)
        self._limit.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Nobody is there any more."""
        self._limit.discard(self)
        self.http.connections.discard(self)
        super().connection_lost(exc)

    def buffer_updated(self, nbytes: int) -> None:
        """Read on, unless the handshake has failed."""
        if self._has_failed:
            return
        if len(self._first) < len(_HTTP_STARTS[0]):
            self._first += bytes(self.get_buffer(-1)[: min(nbytes, len(_HTTP_STARTS[0]))])
        super().buffer_updated(nbytes)

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if self._has_failed:  # and now the other side has closed
            return
        if handshake_exc is not None and self._first:
            self._refused.add(self.address, _reason(handshake_exc), self.http.loop.time())
        if not isinstance(handshake_exc, ssl.SSLError) or self.http.socket is None:
            super()._on_handshake_complete(handshake_exc)
            return
        # The state stays that of a handshake, so that its time-out closes what the other side leaves open.
        self._has_failed = True
        if self._first.startswith(_HTTP_STARTS):
            self.http.socket.write(_HTTP_REFUSAL)
        else:
            self._do_write()  # type: ignore[attr-defined] # sends whatever OpenSSL has ready
        self.http.socket.write_eof()

    def shutdown(self) -> None:
        """Asked by uvicorn to end: a handshake at once; an answer under way is up to HTTP."""
        if self.http.socket is not None and self.http.transport is None:
            self.http.socket.close()

    def cut_off(self) -> None:
        """Close it at once."""
        if self.http.socket is not None:
            self.http.socket.abort()

    def cut_off_if_stuck(self, now: float) -> None:
        """Handshakes and goodbyes have time-outs of their own."""


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "the client closed the connection"


class NamedProtocol(BoundedProtocol):
    """HTTP for clients whose verified certificate has one of the names that are allowed, if some are."""

    def __init__(self, allowed: tuple[str, ...], refused: RefusedHandshakes, **given: Any) -> None:
        super().__init__(**given)
        self._allowed = allowed
        self._refused = refused
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
            error = "none of the certificate's names is in client_allowed_sans"
            self._refused.add(_address_of(transport), error, self.loop.time())

    def data_received(self, data: bytes) -> None:
        """Read on; a client with none of the names gets a 403, whatever it asks for."""
        if self._is_welcome:
            super().data_received(data)
        elif not self.transport.is_closing():
            self.transport.write(_FORBIDDEN)
            self.transport.close()

    def unread(self) -> int:
        """TLS hands much of an answer on at once; what counts is both above and below it."""
        return super().unread() + (self.socket.get_write_buffer_size() if self.socket else 0)
