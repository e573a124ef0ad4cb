"""The simulator as a server on a real socket, and as a program."""

import contextlib
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from exporter.simulator.access import Access, Credentials
from exporter.simulator.api import Api, Limiter, no_route, route
from exporter.simulator.control import PREFIX, Control
from exporter.simulator.exchange import Exchange, Request, RequestLog, Response
from exporter.simulator.faults import Faults
from exporter.simulator.fleet import Clock, Fleet, RealClock, demo_fleet
from exporter.simulator.truth import JobTruth, fleet_truth

IDLE_S: Final = 120.0

MAX_BODY: Final = 1 << 20

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Simulator:
    """CodeArts Build, IAM and the metadata service on one socket.

    The fleet's clock is the service's. ``caller_clock`` is the callers', for dates of signatures, lifetimes
    of tokens and keys, rate windows and the ``Date`` header; the wall clock by default.
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
        self._log = RequestLog()
        self._access = Access(self.credentials, fleet.clock, self.caller_clock, fleet.seed)
        self._api = Api(fleet, self.faults, self._access, Limiter(self.caller_clock))
        self._control = Control(fleet, self.faults, self._access, self._log)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Start to serve; port 0 takes a free one.

        Raises:
            OSError: the address cannot be used.
        """
        self._server = _Server((host, port), self._respond, self.caller_clock)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="simulator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection, hanging ones too, and free the port."""
        if self._server is not None and self._thread is not None:
            self._server.stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self if self._server else self.start()

    def __exit__(self, *_: object) -> None:
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
        """The endpoint, and likewise the IAM endpoint and the metadata service."""
        port = self.port
        host = str(self._server.server_address[0]) if self._server else ""
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104 - compared, not bound

    @property
    def requests(self) -> list[Exchange]:
        """The last exchanges, oldest first."""
        return self._log.exchanges()

    @property
    def counts(self) -> Counter[tuple[str, int]]:
        """Number of exchanges by operation and status."""
        return self._log.counts()

    def reset_counts(self) -> None:
        """Forget the exchanges so far."""
        self._log.reset()

    def expire_tokens(self) -> None:
        """Expire every token and temporary key."""
        self._access.expire()

    def truth(self, since_number: Mapping[str, int] | None = None) -> dict[str, JobTruth]:
        """The truth by job id; totals are over builds numbered above ``since_number[job_id]``."""
        return fleet_truth(self.fleet, self.faults, since_number)

    def _respond(self, request: Request) -> Response:
        if request.path.startswith(PREFIX):
            return self._control.respond(request)
        call = route(request, self.fleet)
        response = no_route(request) if call is None else self._api.respond(call)
        operation, job = (call.operation, call.job) if call else ("unknown", None)
        at_ms = self.caller_clock.now_ms()
        self._log.add(Exchange(at_ms, operation, job, request.method, request.target, response.status))
        return response


class _Server(ThreadingHTTPServer):
    """Tracks its connections, so that they can be closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], respond: Callable[[Request], Response], clock: Clock
    ) -> None:
        self.respond = respond
        self.clock = clock
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def close_connections(self) -> None:
        """Close every connection and wait for their threads."""
        with self._changed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout=2)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_S
    server: _Server

    def handle(self) -> None:
        """Serve requests until the connection ends; the caller may close it at any time."""
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def exchange(self) -> None:
        """Read a request and send the response."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(int(length)))
        self._send(self.server.respond(request))

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = exchange  # noqa: N815 - names are http.server's

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
        """Log nothing; `RequestLog` has the requests."""

    def _send(self, response: Response) -> None:
        if response.delay_s and self.server.stopping.wait(response.delay_s):
            self.close_connection = True
            return
        body = response.body
        if response.keep is not None:
            body = body[: int(len(body) * response.keep)]
            self.close_connection = True
        if response.reset and not body:
            self._reset()
            return
        head = self._head(response)
        if self.command == "HEAD":
            body = b""
        if response.bytes_per_second is None:
            self.wfile.write(head + body)
        else:
            self.wfile.write(head)
            self._send_slowly(body, response.bytes_per_second)
        if response.reset:
            self._reset()

    def _head(self, response: Response) -> bytes:
        headers = {
            "Server": "api-gateway",
            "Date": formatdate(self.server.clock.now_ms() / 1000 + response.date_skew_s, usegmt=True),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            **response.headers,
        }
        lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def _send_slowly(self, body: bytes, bytes_per_second: float) -> None:
        began = time.monotonic()
        sent = 0
        while sent < len(body) and not self.server.stopping.wait(0.02):
            due = min(len(body), int((time.monotonic() - began) * bytes_per_second) + 1)
            self.wfile.write(body[sent:due])
            sent = max(sent, due)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.rfile.close()
        self.connection.close()


def run(
    host: str = "127.0.0.1", port: int = 0, *, jobs: int | None = None, seed: int = 0, speed: float = 1.0
) -> None:
    """Print a configuration for an exporter, and serve until SIGTERM or SIGINT; port 0 takes a free one.

    Without a number of ``jobs``, the fleet is the demo fleet. ``speed`` is that of the fleet's clock.

    Raises:
        OSError: the address cannot be used.
    """
    clock = RealClock(speed)
    fleet = demo_fleet(clock, seed) if jobs is None else Fleet(clock, seed=seed, jobs=jobs)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Simulator(fleet).start(host, port) as simulator:
        print(_banner(simulator), flush=True)
        stop.wait()


def _banner(simulator: Simulator) -> str:
    """Return a configuration of the exporter that works with the simulator; all else is in comments."""
    known = simulator.credentials
    jobs = sum(job.deleted_ms is None for job in simulator.fleet.jobs())
    size = "1 job" if jobs == 1 else f"{jobs:,} jobs"
    key = known.access_keys[0]
    password = (
        f"{{domain: {known.domain}, username: {known.username}, password: {known.password}, "
        f"project: {known.project}}}"
    )
    return f"""\
# CodeArts Build simulator on {simulator.url}, {size}. This is a configuration for it.
endpoint: {simulator.url}
iam_endpoint: {simulator.url}
auth:
  token: {known.tokens[0]}
  # Or one of these:
  # password: {password}
  # access_key: {{access_key: {key.access_key}, secret_key: {key.secret_key}}}
projects:
  - id: all
poll: {{interval: 5s}}
state: {{path: ":memory:"}}
# What has happened: {simulator.url}/_sim/truth"""
