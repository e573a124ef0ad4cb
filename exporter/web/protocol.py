"""HTTP on a connection, bounded: nobody makes the process hold more than a request is worth."""

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_REQUEST: Final = 64 * 1024
"""Bytes of a request line with its headers, or of a body; no path needs a body."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, but a request may not go on for ever."""

    _received = 0

    def data_received(self, data: bytes) -> None:
        """Take in what came, unless it is too much for one request."""
        self._received += len(data)
        super().data_received(data)
        if self._received > LONGEST_REQUEST and not self.transport.is_closing():
            self.send_400_response("The request is too long.")

    def on_headers_complete(self) -> None:
        """The head is known; a body counts anew."""
        self._received = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is known; the next one counts anew."""
        self._received = 0
        super().on_message_complete()
