"""HTTP on a connection, bounded: nobody makes the process hold more than a request is worth, or longer."""

import asyncio
import time
from typing import Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_REQUEST: Final = 64 * 1024
"""Bytes of a request line with its headers, or of a body; no path needs a body."""

REQUEST_WITHIN_S: Final = 10.0
"""From the connection, or from the first byte after an answer, to the end of a request."""

IDLE_FOR_S: Final = 330
"""From an answer to the next request. Prometheus keeps a connection for five minutes, and is to be the one
who closes it: a request that crosses with the server's goodbye could be a failed scrape."""

READ_WITHIN_S: Final = 60.0
"""As long as this, nothing of an answer may go unread."""

READ_WHOLLY_WITHIN_S: Final = 300.0
"""So that an answer cannot be read byte by byte either."""

_GONE: Final = "exporter.is_gone"


def is_gone(scope: Scope) -> bool:
    """Whether nobody waits for the answer to a request any more."""
    asked = scope.get("extensions", {}).get(_GONE)
    return asked is not None and asked()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, but neither a request nor the reading of an answer may go on for ever.

    Whoever runs it calls `cut_off_if_stuck` now and then.
    """

    since = 0.0
    """When it last began to wait for a request, or to answer one; finer than the loop's time."""

    _received = 0
    _asking_since: float | None = None
    _unread = 0
    _unread_since = 0.0
    _moved_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._asking_since = self.loop.time()
        self.since = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """A request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def is_gone(self) -> bool:
        """Whether the client has closed the connection."""
        return self.transport.is_closing()

    def data_received(self, data: bytes) -> None:
        """Take in what came, unless it is too much for one request."""
        self._received += len(data)
        if self._asking_since is None:
            self._asking_since = self.loop.time()
        super().data_received(data)
        if self._received > LONGEST_REQUEST and not self.transport.is_closing():
            self.send_400_response("The request is too long.")

    def on_message_begin(self) -> None:
        """The next of several requests in one go has begun."""
        if self._asking_since is None:
            self._asking_since = self.loop.time()
        super().on_message_begin()
        self.scope["extensions"] = {_GONE: self.is_gone}  # type: ignore[dict-item] # of our own

    def on_headers_complete(self) -> None:
        """The head is known; a body counts anew."""
        self._received = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is known; the next one counts anew."""
        self._received = 0
        self._asking_since = None
        self.since = time.monotonic()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is known; the wait for the next request begins."""
        self.since = time.monotonic()
        super().on_response_complete()

    def cut_off_if_stuck(self, now: float) -> None:
        """Close the connection if the other side takes too long.

        Args:
            now: the loop's time in seconds.
        """
        if self._asks_too_long(now) or self._reads_too_slowly(now):
            self.transport.abort()

    def unread(self) -> int:
        """How many bytes of answers have not even reached the system's buffers."""
        return self.transport.get_write_buffer_size()

    def _asks_too_long(self, now: float) -> bool:
        if self._asking_since is None or now - self._asking_since <= REQUEST_WITHIN_S:
            return False
        if not self.is_busy:
            return True
        # A request before this one is being answered, during which nothing is read.
        self._asking_since = now
        return False

    def _reads_too_slowly(self, now: float) -> bool:
        unread = self.unread()
        if not self._unread:
            self._unread_since = now
        if unread != self._unread:
            self._moved_at = now
        self._unread = unread
        return bool(unread) and (
            now - self._moved_at > READ_WITHIN_S or now - self._unread_since > READ_WHOLLY_WITHIN_S
        )
