"""The exporter's HTTP interface with a web configuration, served on a real socket."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.metrics.exporter_metrics import Telemetry
from exporter.web import MAX_CONNECTIONS, WatchedConfig, WebServer, application
from exporter.web.basic_auth import Comparison
from exporter.web.web_config_middleware import WebConfigMiddleware
from tests.support.sites import Fleet, listening
from tests.web.test_routes import VIEW, metrics, publishing

RIGHT = "$2b$04$9qZoS//n.R5iQK4UY1wx/OHU3wyUAQLaOZJ5gjgYM6pbhG7Mu2kiO"
"""A hash, at the lowest cost, of what is in `PASSWORD`."""
PASSWORD = "12345678901234567890"


@dataclass(frozen=True)
class RunningServer:
    """A running server."""

    address: tuple[str, int]
    config: WatchedConfig
    server: WebServer

    @property
    def port(self) -> int:
        return self.address[1]

    def apply_changes(self) -> None:
        """Check for changes twice, after which a change is applied."""
        self.config.check()
        self.config.check()


@contextmanager
def served(
    file: Path | None, comparison: Comparison | None = None, max_connections: int = MAX_CONNECTIONS
) -> Iterator[RunningServer]:
    """Run the server during a block; its configuration is checked only when a test does so."""
    config = WatchedConfig(file)
    publisher = publishing(VIEW)
    publisher.start()
    app = application(metrics(publisher), Fleet(VIEW), Telemetry(CollectorRegistry()).readings)
    server = WebServer(
        WebConfigMiddleware(app, config, comparison) if comparison else app,
        WatchedConfig() if comparison else config,
        max_connections,
    )
    try:
        with listening(server) as address:
            yield RunningServer(address, config, server)
    finally:
        publisher.stop()


def ask(connection: socket.socket, path: str = "/-/ready", *headers: str) -> None:
    """Send a request."""
    lines = [f"GET {path} HTTP/1.1", "Host: x", *headers]
    connection.sendall("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")


def talk(connection: socket.socket, path: str = "/-/ready", *headers: str) -> bytes:
    """Send a request and return the whole response; empty if there is none."""
    ask(connection, path, *headers)
    answer = b""
    while not (found := re.search(rb"content-length: (\d+)\r\n.*?\r\n\r\n", answer, re.DOTALL)) or len(
        answer
    ) < found.end() + int(found[1]):
        part = connection.recv(65536)
        if not part:
            return b""
        answer += part
    return answer


def client(authority: Path, **files: Path) -> ssl.SSLContext:
    """The TLS context of a client, with a certificate if one is given."""
    context = ssl.create_default_context(cafile=authority)
    if files:
        context.load_cert_chain(files["cert"], files["key"])
    return context


def connected(served: RunningServer, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection after its handshake."""
    plain = socket.create_connection(served.address, timeout=10)
    try:
        return context.wrap_socket(plain, server_hostname="127.0.0.1")
    except BaseException:
        plain.close()
        raise


def reaches(served: RunningServer, context: ssl.SSLContext) -> bool:
    """Return whether a request is answered; a client is refused in the handshake or right after it."""
    try:
        with connected(served, context) as connection:
            return talk(connection).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
