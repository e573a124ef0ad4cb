"""Slow clients: cut off within a request or response, waited for between requests."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, put
from tests.support.programs import eventually
from tests.web.served import RunningServer, ask, client, connected, served, talk


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules, in a shorter time."""
    monkeypatch.setattr("exporter.web.connection.REQUEST_TIMEOUT_S", 1.0)
    monkeypatch.setattr("exporter.web.connection.STALLED_READ_TIMEOUT_S", 1.5)


@pytest.fixture
def site() -> Iterator[RunningServer]:
    with served(None) as site:
        yield site


def connection_to(site: RunningServer) -> socket.socket:
    return socket.create_connection(site.address, timeout=20)


def is_cut_off(connection: socket.socket) -> bool:
    """Return once the server closes the connection; fail after the connection's time-out."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
        b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\nGET /-/re",
    ],
    ids=["nothing", "a letter", "half a head", "half a body", "one and a half"],
)
def test_an_unfinished_request_is_cut_off(site: RunningServer, sent: bytes) -> None:
    with connection_to(site) as connection:
        connection.sendall(sent)
        assert is_cut_off(connection)


def test_a_request_sent_byte_by_byte_is_cut_off(site: RunningServer) -> None:
    with connection_to(site) as connection:
        connection.settimeout(0.1)
        for turn in range(100):
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nX: " if not turn else b"a")
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("it was never cut off")


def test_a_pause_between_requests_is_allowed(site: RunningServer) -> None:
    with connection_to(site) as connection:
        for _ in range(2):
            assert talk(connection).startswith(b"HTTP/1.1 200")
            time.sleep(2.5)
        assert talk(connection).startswith(b"HTTP/1.1 200")


def test_an_idle_connection_outlives_prometheus_five_minutes(site: RunningServer) -> None:
    assert site.server.config.timeout_keep_alive > 300


def test_an_idle_connection_is_closed_eventually(site: RunningServer) -> None:
    site.server.config.timeout_keep_alive = 1
    with connection_to(site) as connection:
        assert talk(connection).startswith(b"HTTP/1.1 200")
        assert is_cut_off(connection)


@pytest.fixture(params=["http", "https"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RunningServer, socket.socket]]:
    """A connection, plain or safe."""
    file = context = None
    if request.param == "https":
        authority = Authority(tmp_path / "authority")
        put(authority.issue("server"), tmp_path)
        file = tmp_path / "web.yaml"
        file.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
        context = client(authority.certificate)
    with served(file) as site:
        connection = opened(site, context)
        with connection:
            yield site, connection


def opened(site: RunningServer, context: ssl.SSLContext | None) -> socket.socket:
    return connected(site, context) if context else connection_to(site)


def test_a_client_that_does_not_read_is_cut_off(reader: tuple[RunningServer, socket.socket]) -> None:
    site, connection = reader
    for _ in range(100):
        ask(connection, "/metrics")
    eventually(lambda: bool(site.server.server_state.connections), 5)
    eventually(lambda: not site.server.server_state.connections, 20)


def test_a_slow_reader_receives_everything(reader: tuple[RunningServer, socket.socket]) -> None:
    _, connection = reader
    for _ in range(99):
        ask(connection, "/metrics")
    ask(connection, "/-/ready", "Connection: close")
    received = bytearray()
    began = time.monotonic()
    while part := connection.recv(65536):
        received += part
        if time.monotonic() - began < 4:
            time.sleep(0.01)
    assert received.count(b"HTTP/1.1 200 OK") == 100
    assert received.endswith(b" jobs known\n")
