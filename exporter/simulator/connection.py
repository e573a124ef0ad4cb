"""One kept-alive HTTP/1.1 connection: reads requests, sends answers with the troubles they carry."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

from exporter.simulator.answer import Answer, Request
from exporter.simulator.clock import Clock

IDLE_S: Final = 120.0
LARGEST_BODY: Final = 1 << 20
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Connection(BaseHTTPRequestHandler):
    """Handles one connection; a subclass made by `handler` binds it to a simulator."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    respond: Callable[[Request], Answer]
    caller_clock: Clock
    stopping: threading.Event

    def handle(self) -> None:
        """Serves requests until the connection ends; a caller that hangs up is no error."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def exchange(self) -> None:
        """Reads one request and answers it."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(int(length)))
        self._send(type(self).respond(request))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = exchange  # noqa: N815 - names are http.server's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
        """Says nothing; the journal keeps what was asked."""

    def _send(self, answer: Answer) -> None:
        if answer.delay_s and self.stopping.wait(answer.delay_s):
            self.close_connection = True
            return
        body = answer.body
        if answer.keep is not None:
            body = body[: int(len(body) * answer.keep)]
            self.close_connection = True
        if answer.reset and not body:
            self._break()
            return
        head = self._head(answer)
        if self.command == "HEAD":
            body = b""
        if answer.bytes_per_second is None:
            self.wfile.write(head + body)
        else:
            self.wfile.write(head)
            self._drip(body, answer.bytes_per_second)
        if answer.reset:
            self._break()

    def _head(self, answer: Answer) -> bytes:
        date_s = self.caller_clock.now_ms() / 1000 + answer.date_skew_s
        headers = {
            "Server": "api-gateway",
            "Date": formatdate(date_s, usegmt=True),
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            **answer.headers,
        }
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def _drip(self, body: bytes, bytes_per_second: float) -> None:
        began = time.monotonic()
        sent = 0
        while sent < len(body) and not self.stopping.wait(0.02):
            due = min(len(body), int((time.monotonic() - began) * bytes_per_second) + 1)
            self.wfile.write(body[sent:due])
            sent = max(sent, due)

    def _break(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.rfile.close()
        self.connection.close()


def handler(
    respond: Callable[[Request], Answer], caller_clock: Clock, stopping: threading.Event
) -> type[Connection]:
    """A `Connection` that answers by ``respond`` and gives up when ``stopping`` is set."""
    bound = {"respond": staticmethod(respond), "caller_clock": caller_clock, "stopping": stopping}
    return type("BoundConnection", (Connection,), bound)
