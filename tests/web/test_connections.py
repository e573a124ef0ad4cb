"""The limit of connections: a new one closes another, and is answered."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certificates import Authority, put
from tests.support.programs import eventually
from tests.web.served import RunningServer, ask, client, served, talk

MOST = 6


class Clients:
    """Clients that stay, each with its connection."""

    def __init__(self, site: RunningServer, context: ssl.SSLContext | None, stack: ExitStack) -> None:
        self.site = site
        self._context = context
        self._stack = stack

    def silent(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection that sends nothing."""
        plain = socket.create_connection(self.site.address, 10, (source, 0))
        return self._stack.enter_context(plain)

    def come(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection that is ready for requests."""
        plain = self.silent(source)
        if self._context is None:
            return plain
        safe = self._context.wrap_socket(plain, server_hostname="127.0.0.1")
        return self._stack.enter_context(safe)

    def asks(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection that was answered once."""
        connection = self.come(source)
        assert talk(connection).startswith(b"HTTP/1.1 200")
        return connection


@pytest.fixture(params=["http", "https"])
def clients(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clients]:
    file = context = None
    if request.param == "https":
        authority = Authority(tmp_path / "authority")
        put(authority.issue("server"), tmp_path)
        file = tmp_path / "web.yaml"
        file.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
        context = client(authority.certificate)
    with served(file, max_connections=MOST) as site, ExitStack() as stack:
        yield Clients(site, context, stack)


def is_open(connection: socket.socket) -> bool:
    try:
        return talk(connection).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_a_connection_beyond_the_limit_closes_the_one_idle_for_longest(clients: Clients) -> None:
    first, *others = [clients.asks() for _ in range(MOST)]
    new = clients.asks()
    assert not is_open(first)
    assert all(map(is_open, [*others, new]))


def test_a_request_moves_its_connection_to_the_end_of_the_order(clients: Clients) -> None:
    first, second, *_ = [clients.asks() for _ in range(MOST)]
    assert is_open(first)
    clients.asks()
    assert not is_open(second)
    assert is_open(first)


def test_the_address_with_the_most_connections_loses_one_first(clients: Clients) -> None:
    scraper = clients.asks()
    crowd = [clients.asks("127.0.0.2") for _ in range(3 * MOST)]
    assert is_open(scraper)
    assert [is_open(connection) for connection in crowd].count(True) == MOST - 1


def test_an_idle_connection_is_closed_before_one_with_a_response_in_progress(clients: Clients) -> None:
    reader = clients.come()
    for _ in range(99):
        ask(reader, "/metrics")
    ask(reader, "/-/ready", "Connection: close")
    for _ in range(MOST + 2):
        clients.asks()
    received = bytearray()
    while part := reader.recv(65536):
        received += part
    assert received.endswith(b" jobs known\n")


def test_silent_connections_lock_no_client_out(clients: Clients) -> None:
    for _ in range(5 * MOST):
        clients.silent()
    assert is_open(clients.come())


def test_closed_connections_free_their_place(clients: Clients) -> None:
    for connection in [clients.asks() for _ in range(MOST)]:
        connection.close()
    eventually(lambda: not clients.site.server.server_state.connections, 10)
    assert all(map(is_open, [clients.asks() for _ in range(MOST)]))
