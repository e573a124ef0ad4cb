"""Client connections: HTTP or HTTPS as the web configuration says, limited in number, size and time."""

import asyncio
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, cast

import structlog
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from exporter.web.tls import alternative_names
from exporter.web.web_config_watcher import WatchedConfig

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Of a request line with its headers (and what comes with their end in one piece), or of a body."""

REQUEST_TIMEOUT_S: Final = 10.0
"""From the connection, or from the first byte after a response, to the end of a request."""

KEEP_ALIVE_S: Final = 330
"""From a response to the next request. Prometheus keeps a connection for five minutes and should be the one
to close it: a request that crosses with the server's close could be a failed scrape."""

STALLED_READ_TIMEOUT_S: Final = 60.0
"""A client that reads nothing of a response for this long is disconnected."""

WHOLE_READ_TIMEOUT_S: Final = 300.0
"""Limit for a whole response, for clients that read it byte by byte."""

HANDSHAKE_TIMEOUT_S: Final = 10

_TLS_SHUTDOWN_TIMEOUT_S: Final = 5

_HANDSHAKE_LOG_INTERVAL_S: Final = 60.0

_HTTP_STARTS: Final = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO")

_HTTP_REFUSAL: Final = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
"""Go's server recognizes plain HTTP by the same first bytes, and answers the same."""

_FORBIDDEN: Final = (
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n"
    b"None of the certificate's names is allowed.\n"
)
"""Python's TLS cannot send an alert after the handshake."""

_DISCONNECTED: Final = "exporter.is_disconnected"

_log = structlog.get_logger(__name__)


def is_disconnected(scope: Scope) -> bool:
    """Return whether the client that sent a request has closed its connection."""
    check = scope.get("extensions", {}).get(_DISCONNECTED)
    return check is not None and check()


class HandshakeFailures:
    """Logs why TLS handshakes fail: the first failure, then at most one a minute."""

    def __init__(self) -> None:
        self._logged_at: float | None = None
        self._unlogged = 0

    def add(self, client: str, error: str, now: float) -> None:
        """Log or count a failure; ``now`` is the event loop's time in seconds."""
        if self._logged_at is not None and now - self._logged_at < _HANDSHAKE_LOG_INTERVAL_S:
            self._unlogged += 1
            return
        _log.warning("tls_handshake_refused", client=client, error=error, others=self._unlogged)
        self._logged_at, self._unlogged = now, 0


def connection_factory(config: WatchedConfig, max_connections: int) -> Callable[..., asyncio.BaseProtocol]:
    """Return what uvicorn calls, in place of a protocol class, for each new connection.

    `asyncio.Server` has one TLS context for good. An ``sni_callback`` could replace its certificate, but not
    whether clients need one. So each new connection gets the context in force; open ones keep theirs.
    """
    failures = HandshakeFailures()

    def connect(**uvicorn_arguments: Any) -> asyncio.BaseProtocol:
        tls = config.current.tls_server_config
        allowed_names = tls.client_allowed_sans if tls else ()
        http = HttpConnection(max_connections, failures, allowed_names, **uvicorn_arguments)
        return TlsProtocol(http, tls.context, failures) if tls else http

    return connect


class HttpConnection(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits on the size of a request and on the time a client may take.

    The server calls `abort_if_stuck` about once a second.

    Args:
        max_connections: open at once.
        failures: logs certificates without an allowed name.
        allowed_names: names of which a client's verified certificate needs one; empty if it needs none.
    """

    def __init__(
        self,
        max_connections: int,
        failures: HandshakeFailures,
        allowed_names: tuple[str, ...],
        **uvicorn_arguments: Any,
    ) -> None:
        super().__init__(**uvicorn_arguments)
        self.socket: asyncio.Transport = None  # type: ignore[assignment] # until it is accepted
        """The transport below TLS; without TLS the same as ``transport``, which uvicorn sets."""
        self.address = ""
        self.since = 0.0
        """When it began to wait for a request, or to answer one; finer than the event loop's time."""
        self._max_connections = max_connections
        self._failures = failures
        self._allowed_names = allowed_names
        self._is_authorized = not allowed_names
        self._received = self._body_bytes = 0
        self._is_too_long = False
        self._request_since: float | None = None
        self._unread = 0
        self._unread_since = 0.0
        self._unread_changed_at = 0.0

    def accept(self, socket: asyncio.Transport) -> None:
        """Register the connection before any TLS handshake, closing another one if there are too many.

        Addresses that hold many connections lose one first; of those an idle one before one with a request in
        progress, and the one that has been in that state for the longest.
        """
        self.socket = socket
        self.address = (socket.get_extra_info("peername") or ("",))[0]
        self.since = time.monotonic()
        others = cast("set[HttpConnection]", self.connections)
        if len(others) >= self._max_connections:
            held = Counter(other.address for other in others)
            victim = min(others, key=lambda other: (-held[other.address], other.is_busy, other.since))
            others.discard(victim)
            victim.socket.abort()
        self.connections.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for a request, after the handshake if there is TLS."""
        if self.socket is None:
            self.accept(transport)
        super().connection_made(transport)
        self._request_since = self.loop.time()
        self.since = time.monotonic()
        if self._allowed_names:
            certificate = transport.get_extra_info("peercert") or {}
            self._is_authorized = not alternative_names(certificate).isdisjoint(self._allowed_names)
        if not self._is_authorized:
            error = "none of the certificate's names is in client_allowed_sans"
            self._failures.add(self.address, error, self.loop.time())

    @property
    def is_busy(self) -> bool:
        """A request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Read on; refuse requests that are too large, and all of a client without an allowed name."""
        if not self._is_authorized:
            if not self.transport.is_closing():
                self.transport.write(_FORBIDDEN)
                self.transport.close()
            return
        self._received += len(data)
        if self._request_since is None:
            self._request_since = self.loop.time()
        super().data_received(data)
        self._is_too_long |= self._received > MAX_REQUEST_BYTES
        if self._is_too_long and not self.transport.is_closing():
            self.send_400_response("The request is too long.")

    def on_message_begin(self) -> None:
        """Start the clock for a request that came in one piece with the one before it."""
        if self._request_since is None:
            self._request_since = self.loop.time()
        super().on_message_begin()
        is_closing = self.transport.is_closing
        self.scope["extensions"] = {_DISCONNECTED: is_closing}  # type: ignore[dict-item] # the exporter's own

    def on_headers_complete(self) -> None:
        """Count the bytes of the body apart from those of the headers."""
        self._received = self._body_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read on; of a body that is too long, the handler gets no part."""
        self._body_bytes += len(body)
        if self._body_bytes <= MAX_REQUEST_BYTES:
            super().on_body(body)
        else:
            self.cycle.disconnected = self._is_too_long = True

    def on_message_complete(self) -> None:
        """Stop the clock of the request."""
        self._received = 0
        self._request_since = None
        self.since = time.monotonic()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self.since = time.monotonic()
        super().on_response_complete()

    def shutdown(self) -> None:
        """Close the connection, after a response in progress; a handshake is cut off at once."""
        if self.transport is None:
            self.socket.close()
        else:
            super().shutdown()

    def abort_if_stuck(self, now: float) -> None:
        """Abort the connection if the client takes too long; ``now`` is the event loop's time in seconds.

        A TLS handshake and the end of a TLS connection have time-outs of their own.
        """
        if self.transport is not None and (self._sends_too_slowly(now) or self._reads_too_slowly(now)):
            self.socket.abort()

    def _sends_too_slowly(self, now: float) -> bool:
        if self._request_since is None or now - self._request_since <= REQUEST_TIMEOUT_S:
            return False
        if not self.is_busy or self.cycle.more_body:
            return True
        # The request before this one is being answered; nothing is read meanwhile.
        self._request_since = now
        return False

    def _reads_too_slowly(self, now: float) -> bool:
        # TLS passes large parts of a response on at once, so bytes wait both above and below it.
        unread = sum(transport.get_write_buffer_size() for transport in {self.transport, self.socket})
        if not self._unread:
            self._unread_since = now
        if unread != self._unread:
            self._unread_changed_at = now
        self._unread = unread
        return bool(unread) and (
            now - self._unread_changed_at > STALLED_READ_TIMEOUT_S
            or now - self._unread_since > WHOLE_READ_TIMEOUT_S
        )


class TlsProtocol(SSLProtocol):
    """TLS between a socket and an `HttpConnection`; the protocol that `asyncio` itself uses for TLS.

    A failed handshake ends as in Go: the client gets the alert that OpenSSL has prepared, or a 400 if it
    speaks plain HTTP. Then it may close the connection, within the time-out of a handshake.
    """

    max_size = 32 * 1024
    """Size of the read buffer of each connection, in bytes; requests are small."""

    def __init__(self, http: HttpConnection, context: ssl.SSLContext, failures: HandshakeFailures) -> None:
        super().__init__(
            http.loop,
            http,
            context,
            waiter=None,  # type: ignore[arg-type] # as asyncio does for connections to a server
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_TIMEOUT_S,
        )
        self._http = http
        self._failures = failures
        self._first_bytes = b""
        self._has_failed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # of a stream
        """Begin the handshake."""
        self._http.accept(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Unregister the connection, of which `HttpConnection` may never have heard."""
        self._http.connections.discard(self._http)
        super().connection_lost(exc)

    def buffer_updated(self, nbytes: int) -> None:
        """Read on, unless the handshake has failed."""
        if self._has_failed:
            return
        if len(self._first_bytes) < len(_HTTP_STARTS[0]):
            self._first_bytes += bytes(self.get_buffer(-1)[: min(nbytes, len(_HTTP_STARTS[0]))])
        super().buffer_updated(nbytes)

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        if self._has_failed:  # and the client has closed the connection now
            return
        if handshake_exc is not None and self._first_bytes:
            self._failures.add(self._http.address, _reason(handshake_exc), self._http.loop.time())
        if not isinstance(handshake_exc, ssl.SSLError):
            super()._on_handshake_complete(handshake_exc)
            return
        # The state remains that of a handshake, so its time-out closes what the client leaves open.
        self._has_failed = True
        if self._first_bytes.startswith(_HTTP_STARTS):
            self._http.socket.write(_HTTP_REFUSAL)
        else:
            self._do_write()  # type: ignore[attr-defined] # sends the alert
        self._http.socket.write_eof()


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "the client closed the connection"
