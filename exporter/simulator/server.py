"""The simulator as a server on a real socket."""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from exporter.simulator.access import Access, Credentials
from exporter.simulator.api import Api, Limiter, no_route, route
from exporter.simulator.control import PREFIX, Control
from exporter.simulator.exchange import Answer, Exchange, Journal, Request
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Clock, Fleet, RealClock
from exporter.simulator.truth import JobTruth, fleet_truth

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


class Simulator:
    """CodeArts Build, IAM and the metadata service on one socket.

    Args:
        fleet: whose builds it tells of; its clock is the service's.
        faults: what goes wrong; can be changed while it runs.
        credentials: what it accepts.
        caller_clock: the time its callers live in: by it run the dates of signatures, the life of tokens and
            keys, rate windows and the ``Date`` header. The wall clock by default, whatever the fleet's is.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        faults: Faults | None = None,
        credentials: Credentials | None = None,
        caller_clock: Clock | None = None,
    ) -> None:
        self.fleet = fleet
        self.faults = faults or Faults(seed=fleet.seed)
        self.credentials = credentials or Credentials()
        self.caller_clock = caller_clock or RealClock()
        self._journal = Journal()
        self._access = Access(self.credentials, fleet.clock, self.caller_clock, fleet.seed)
        self._api = Api(fleet, self.faults, self._access, Limiter(self.caller_clock))
        self._control = Control(fleet, self.faults, self._access, self._journal)
        self._stopping = threading.Event()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Begins to serve; port 0 takes a free one.

        Raises:
            OSError: the address is not to be had.
        """
        self._stopping.clear()
        bound = handler(self._respond, self.caller_clock, self._stopping)
        self._server = _Server((host, port), bound)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="simulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends every connection, hanging ones too, and frees the port."""
        self._stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self if self._server else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it serves on.

        Raises:
            RuntimeError: it has not been started.
        """
        if self._server is None:
            raise RuntimeError("the simulator has not been started")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it serves: the endpoint, the IAM endpoint and the metadata service alike."""
        port = self.port
        host = str(self._server.server_address[0]) if self._server else ""
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound

    @property
    def requests(self) -> list[Exchange]:
        """The last exchanges, oldest first."""
        return self._journal.exchanges()

    @property
    def counts(self) -> Counter[tuple[str, int]]:
        """How many exchanges by operation and status."""
        return self._journal.counts()

    def reset_counts(self) -> None:
        """Forgets the exchanges so far."""
        self._journal.reset()

    def expire_tokens(self) -> None:
        """Ends every token and temporary key that is out."""
        self._access.expire()

    def truth(self, since_number: Mapping[str, int] | None = None) -> dict[str, JobTruth]:
        """What really happened, by job id; totals are over builds numbered above ``since_number[job_id]``."""
        return fleet_truth(self.fleet, self.faults, since_number)

    def _respond(self, request: Request) -> Answer:
        if request.path.startswith(PREFIX):
            return self._control.answer(request)
        call = route(request)
        answer = no_route(request) if call is None else self._api.answer(call)
        self._journal.note(
            Exchange(
                self.caller_clock.now_ms(),
                call.operation if call else "unknown",
                call.job if call else None,
                request.method,
                request.target,
                answer.status,
            )
        )
        return answer


class _Server(ThreadingHTTPServer):
    """Remembers its connections, so that they can be ended."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], bound: type[Any]) -> None:
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, bound)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives one connection a thread."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves one connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def hang_up(self) -> None:
        """Ends every open connection and waits for their threads."""
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout=2)
