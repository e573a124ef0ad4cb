"""HTTP exchanges over real sockets, with limits of time and size."""

import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest
import requests

from exporter.api.http import MAX_RESPONSE_BYTES, USER_AGENT, Response, exchange, new_session, prepare
from exporter.errors import InvalidResponseError, Obstacle, UnreachableError
from exporter.simulator import Fleet, ManualClock, Simulator
from tests.support.certificates import make_authority
from tests.support.programs import free_port
from tests.support.wires import Proxy, RawServer, Relay, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TIMEOUT = 0.2
PATIENCE = 3 * TIMEOUT
SLACK = 5.0
"""Generous for a busy machine; slow and silent servers here would take much longer."""


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with new_session() as session:
        yield session


def get(session: requests.Session, url: str, timeout: float = 5.0) -> Response:
    return exchange(session, prepare(session, requests.Request("GET", url)), timeout=timeout)


def failure(session: requests.Session, url: str, timeout: float = 5.0) -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        get(session, url, timeout)
    assert "\n" not in str(caught.value)
    return caught.value


def answer(body: bytes, *headers: str, length: int | None = None) -> bytes:
    header_lines = [f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join(["HTTP/1.1 200 OK", *header_lines, "", ""]).encode() + body


def dripping(text: bytes, *, at_once: int = 0, pause: float = TIMEOUT / 4) -> RawServer:
    """A server that sends a first part, then a byte at a time, never silent for long."""

    def drip(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(text[:at_once])
        for each in text[at_once:]:
            if stopping.wait(pause):
                return
            connection.sendall(bytes([each]))

    return RawServer(drip)


def endless(head: bytes) -> RawServer:
    def pour(connection: socket.socket, stopping: threading.Event) -> None:
        connection.sendall(head)
        while not stopping.is_set():
            connection.sendall(b" " * 65536)

    return RawServer(pour)


def test_credentials_of_a_netrc_file_are_never_sent(
    session: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login of password netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    headers = prepare(session, requests.Request("GET", "http://127.0.0.1/")).headers
    assert (headers["User-Agent"], headers.get("Authorization")) == (USER_AGENT, None)


def test_a_response_has_status_headers_and_body(session: requests.Session) -> None:
    with RawServer(b"HTTP/1.1 418 Teapot\r\nX-Kind: pot\r\nContent-Length: 5\r\n\r\nshort") as server:
        before = time.time()
        got = get(session, server.url)
        assert (got.status, got.headers["x-kind"], got.body) == (418, "pot", b"short")
        assert before <= got.received_at <= time.time()


def test_requests_name_the_exporter_and_accept_json(session: requests.Session) -> None:
    with RawServer(OK) as server:
        get(session, f"{server.url}/v1/job?search=a%20b")
        [head] = server.heads
        assert head.startswith("GET /v1/job?search=a%20b HTTP/1.1\r\n")
        assert f"\r\nUser-Agent: {USER_AGENT}\r\n" in head
        assert "\r\nAccept: application/json\r\n" in head


def test_cookies_are_not_kept(session: requests.Session) -> None:
    with RawServer(answer(b"{}", "Set-Cookie: id=1; Path=/", "Connection: close")) as server:
        get(session, server.url)
        get(session, server.url)
        assert ["cookie" in head.lower() for head in server.heads] == [False, False]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(session: requests.Session, status: int) -> None:
    with RawServer(OK) as elsewhere:
        redirect = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
        with RawServer(redirect.encode()) as server:
            assert get(session, server.url).status == status
        assert elsewhere.connections == 0


def test_a_redirect_to_an_invalid_url_is_a_response_like_any_other(session: requests.Session) -> None:
    with RawServer(b"HTTP/1.1 302 Moved\r\nLocation: http://[half\r\nContent-Length: 0\r\n\r\n") as server:
        assert get(session, server.url).status == 302


def test_fifty_requests_take_one_connection(session: requests.Session) -> None:
    with Simulator(Fleet(ManualClock(0))) as simulator, Relay(simulator.port) as relay:
        statuses = {get(session, f"{relay.url}/v1/job/recycling-jobs").status for _ in range(50)}
        assert (statuses, relay.connections) == ({401}, 1)


def test_a_connection_that_the_service_has_closed_is_replaced(session: requests.Session) -> None:
    with RawServer(OK) as server:  # says nothing of closing, and closes
        for _ in range(3):
            assert get(session, server.url).status == 200
            time.sleep(0.05)
        assert server.connections == 3


def test_a_refused_connection_is_a_connection_error(session: requests.Session) -> None:
    error = failure(session, "http://127.0.0.1:1")
    assert (error.code, str(error)) == ("connection", "ConnectionError: [Errno 111] Connection refused")


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1", "http://a..b", "http://[half", "nowhere"])
def test_an_invalid_url_is_unreachable(session: requests.Session, url: str) -> None:
    assert failure(session, url).code == "connection"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"secret words of the service\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        answer(b'{"total": 1, "his', length=500),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret words\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_is_no_http_is_a_matter_of_the_connection(
    session: requests.Session, reply: bytes
) -> None:
    with RawServer(reply) as server:
        error = failure(session, server.url)
        assert error.code == "connection"
        assert "secret" not in str(error)


@pytest.mark.parametrize("sent", [b"", OK[:20], answer(b"{", length=50)])
def test_a_reset_is_a_matter_of_the_connection(session: requests.Session, sent: bytes) -> None:
    def reset(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with RawServer(reset) as server:
        assert failure(session, server.url).code == "connection"


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200", OK[:-2], answer(b"{" * 70_000, length=200_000)])
def test_silence_is_a_time_out_wherever_it_falls(session: requests.Session, sent: bytes) -> None:
    with dripping(sent + b"x", at_once=len(sent), pause=30) as server:
        began = time.monotonic()
        assert failure(session, server.url, TIMEOUT).code == "timeout"
        assert time.monotonic() - began < TIMEOUT + SLACK


@pytest.mark.parametrize(
    ("text", "at_once"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 1000, 0),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90, 17),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
        (answer(b"{" + b" " * 1000 + b"}"), 60),
        (answer(b"{" + b" " * 200_000 + b"}"), 100_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 500, 47),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 1000, 19),
        (answer(gzip.compress(bytes(range(256)) * 100), "Content-Encoding: gzip"), 70),
    ],
)
def test_whoever_drips_is_given_up_after_three_time_outs(
    session: requests.Session, text: bytes, at_once: int
) -> None:
    with dripping(text, at_once=at_once) as server:
        began = time.monotonic()
        assert failure(session, server.url, TIMEOUT).code == "timeout"
        assert PATIENCE - 0.01 <= time.monotonic() - began < PATIENCE + SLACK


def test_a_proxy_that_drips_is_given_up_too(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 90) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        began = time.monotonic()
        assert failure(session, "https://codearts.test", TIMEOUT).code == "timeout"
        assert time.monotonic() - began < PATIENCE + SLACK
        assert proxy.heads[0].startswith("CONNECT codearts.test:443 ")


def test_a_slow_answer_that_comes_in_time_is_read(session: requests.Session) -> None:
    with dripping(answer(b"{}" + b" " * 8), at_once=40, pause=0.1) as server:
        assert get(session, server.url, 0.5).body.strip() == b"{}"


def test_a_slow_answer_does_not_shorten_the_time_of_the_next(session: requests.Session) -> None:
    timeout = 1.0

    def serve_two(connection: socket.socket, _: threading.Event) -> None:
        for piece in (OK[:10], OK[10:20], OK[20:30], OK[30:-1], OK[-1:]):
            time.sleep(0.5 * timeout)
            connection.sendall(piece)
        server.read_head(connection)
        time.sleep(0.7 * timeout)
        connection.sendall(OK)

    with RawServer(serve_two) as server:
        assert [get(session, server.url, timeout).status for _ in range(2)] == [200, 200]
        assert server.connections == 1


@pytest.mark.parametrize("status", [200, 302, 500])
def test_a_body_without_end_is_not_read_to_its_end(session: requests.Session, status: int) -> None:
    with endless(f"HTTP/1.1 {status} Endless\r\nLocation: /\r\n\r\n".encode()) as server:
        with pytest.raises(InvalidResponseError, match="more than 32768 KiB") as caught:
            get(session, server.url)
        assert caught.value.code == "invalid"


def test_an_answer_may_be_as_large_as_32_mib(session: requests.Session) -> None:
    with RawServer(answer(b" " * MAX_RESPONSE_BYTES)) as server:
        assert len(get(session, server.url).body) == MAX_RESPONSE_BYTES


@pytest.mark.parametrize("times", [1, 2])
def test_a_body_that_swells_is_given_up_before_it_fills_the_memory(
    session: requests.Session, times: int
) -> None:
    body = b"\0" * (200 * 1024 * 1024)
    for _ in range(times):
        body = gzip.compress(body, compresslevel=1)
    swelling = answer(body, f"Content-Encoding: {', '.join(['gzip'] * times)}")
    with RawServer(swelling) as server:
        tracemalloc.start()
        try:
            with pytest.raises(InvalidResponseError):
                get(session, server.url)
            assert tracemalloc.get_traced_memory()[1] < 4 * MAX_RESPONSE_BYTES
        finally:
            tracemalloc.stop()


def test_a_compressed_answer_is_read(session: requests.Session) -> None:
    with RawServer(answer(gzip.compress(b'{"total": 0}'), "Content-Encoding: gzip")) as server:
        assert get(session, server.url).body == b'{"total": 0}'


def test_a_body_that_cannot_be_decoded_is_no_valid_answer(session: requests.Session) -> None:
    with (
        RawServer(answer(b"{}", "Content-Encoding: gzip")) as server,
        pytest.raises(InvalidResponseError, match="cannot be decoded") as caught,
    ):
        get(session, server.url)
    assert caught.value.code == "invalid"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with RawServer(OK) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv(name, proxy.url)
        assert get(session, "http://codearts.test/v1/job").status == 200
        assert proxy.heads[0].startswith("GET http://codearts.test/v1/job HTTP/1.1\r\n")
        assert server.heads[0].startswith("GET /v1/job HTTP/1.1\r\n")


@pytest.mark.parametrize("hosts", ["127.0.0.1", "codearts.test, 127.0.0.1", "127.0.0.0/8", "*"])
def test_no_proxy_is_used_where_the_environment_says_so(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    with RawServer(OK) as server, Proxy(server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", hosts)
        assert get(session, server.url).status == 200
        assert proxy.connections == 0


def test_a_proxy_that_refuses_is_a_matter_of_the_connection(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(session, "https://codearts.test")
        assert (error.code, "407" in str(error)) == ("connection", True)
        assert error.obstacle is Obstacle.PROXY_REFUSED
        assert str(error).startswith("HTTPS_PROXY: ProxyError: Tunnel connection failed: 407")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_authority(tmp_path_factory.mktemp("authority"))


Ask = Callable[[str], Response]


@pytest.fixture
def ask(authority: tuple[Path, ssl.SSLContext]) -> Iterator[Ask]:
    """Send a request with a session that trusts the authority's CA file."""
    with new_session(str(authority[0])) as session:
        yield lambda url: get(session, url)


def test_a_ca_file_of_one_s_own_is_trusted(authority: tuple[Path, ssl.SSLContext], ask: Ask) -> None:
    with RawServer(OK) as server, Relay(server.port, authority[1]) as relay:
        assert ask(relay.url).status == 200


def test_nobody_else_s_certificate_is_trusted(
    authority: tuple[Path, ssl.SSLContext], session: requests.Session
) -> None:
    with RawServer(OK) as server, Relay(server.port, authority[1]) as relay:
        error = failure(session, relay.url)
        assert (error.code, server.connections) == ("connection", 0)
        assert "certificate verify failed" in str(error)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_does_not_go_before_the_ca_file(
    authority: tuple[Path, ssl.SSLContext],
    ask: Ask,
    session: requests.Session,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    with RawServer(OK) as server, Relay(server.port, authority[1]) as relay:
        monkeypatch.setenv(name, certifi.where())
        assert ask(relay.url).status == 200
        monkeypatch.setenv(name, str(authority[0]))
        assert get(session, relay.url).status == 200


def test_a_ca_file_that_is_gone_is_named(session: requests.Session) -> None:
    session.verify = "/nowhere/ca.pem"
    error = failure(session, "https://127.0.0.1:1")
    assert (error.code, "/nowhere/ca.pem" in str(error)) == ("connection", True)


def test_tls_goes_through_a_proxy(
    authority: tuple[Path, ssl.SSLContext], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        RawServer(OK) as server,
        Relay(server.port, authority[1]) as relay,
        Proxy(relay.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert ask("https://codearts.test/v1/job").status == 200
        assert proxy.heads[0].startswith("CONNECT codearts.test:443 HTTP/1")
        assert server.heads[0].startswith("GET /v1/job HTTP/1.1\r\n")


def test_a_dripping_answer_is_given_up_inside_tls_too(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    with (
        new_session(str(authority[0])) as session,
        dripping(answer(b" " * 1000)) as server,
        Relay(server.port, authority[1]) as relay,
    ):
        began = time.monotonic()
        assert failure(session, relay.url, TIMEOUT).code == "timeout"
        assert time.monotonic() - began < PATIENCE + SLACK


class Silent(Wire):
    """A server that accepts connections and stays silent."""

    def serve(self, connection: socket.socket) -> None:
        self.stopping.wait(5)


class Blunt(Wire):
    """A server that responds before the request, and without TLS."""

    def serve(self, connection: socket.socket) -> None:
        connection.sendall(OK)
        connection.recv(65536)


class TestObstacles:
    def test_nobody_listens(self, session: requests.Session) -> None:
        assert failure(session, f"http://127.0.0.1:{free_port()}").obstacle is Obstacle.REFUSED

    def test_the_host_is_unknown(self, session: requests.Session) -> None:
        assert failure(session, "http://nobody.invalid").obstacle is Obstacle.UNKNOWN_HOST

    def test_the_response_does_not_arrive_in_time(self, session: requests.Session) -> None:
        with Silent() as server:
            assert failure(session, server.url, TIMEOUT).obstacle is Obstacle.TIMEOUT

    def test_the_certificate_is_not_trusted(self, session: requests.Session, tmp_path: Path) -> None:
        _, context = make_authority(tmp_path)
        with RawServer(OK) as server, Relay(server.port, context) as relay:
            url = f"https://127.0.0.1:{relay.port}"
            assert failure(session, url).obstacle is Obstacle.UNTRUSTED

    def test_the_service_does_not_speak_tls(self, session: requests.Session) -> None:
        with Blunt() as server:
            url = server.url.replace("http:", "https:")
            assert failure(session, url).obstacle is Obstacle.TLS

    def test_the_proxy_is_unreachable(
        self, session: requests.Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
        monkeypatch.setenv("NO_PROXY", "")
        error = failure(session, "http://example.test")
        assert error.obstacle is Obstacle.PROXY
        assert str(error).startswith("HTTP_PROXY: ProxyError: [Errno ")


PROXY_FORM = "is no proxy of the form http://[user:password@]host:port"


@pytest.mark.parametrize(
    ("variable", "value", "need"),
    [
        ("HTTPS_PROXY", "socks5://user:s3cret@proxy:1080", "a SOCKS proxy needs the package PySocks"),
        ("ALL_PROXY", "socks5h://user:s3cret@proxy:1080", "a SOCKS proxy needs the package PySocks"),
        ("https_proxy", "ftp://user:s3cret@proxy:21", PROXY_FORM),
        ("HTTPS_PROXY", "http://user:s3cret@", PROXY_FORM),
        ("HTTPS_PROXY", "http://user:s3cret@proxy:99999", PROXY_FORM),
        ("HTTPS_PROXY", "http://user:s3cret/@proxy:3128", PROXY_FORM),
        ("HTTPS_PROXY", "http://user:s3cret密码@127.0.0.1:9", PROXY_FORM),
        ("HTTPS_PROXY", "user:s3cret", PROXY_FORM),
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "Could not find a suitable TLS CA certificate bundle"),
    ],
)
def test_an_invalid_setting_is_reported_with_its_variable(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, need: str
) -> None:
    monkeypatch.setenv(variable, value)
    error = failure(session, "https://127.0.0.1:9/")
    assert (error.obstacle, error.retryable, error.code) == (Obstacle.SETTING, False, "connection")
    assert str(error).startswith(f"{variable}: {need}")
    assert "s3cret" not in str(error)
    assert "user:" not in str(error).replace("user:password@", "")


@pytest.mark.parametrize("url", ["htps://127.0.0.1/", "127.0.0.1/"])
def test_an_invalid_address_is_reported(session: requests.Session, url: str) -> None:
    assert str(failure(session, url)).startswith("not an address that a request can be sent to")
