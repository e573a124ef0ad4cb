"""Passwords, headers and the rate limit, in front of everything that is served."""

import base64
import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest

from exporter.web.basic_auth import compare
from tests.support.programs import eventually
from tests.web.served import PASSWORD, RIGHT, RunningServer, served

USERS = f"basic_auth_users:\n  alice: {RIGHT}\n"


class Slow:
    """A comparison that waits for `go_on`, and records the passwords."""

    def __init__(self) -> None:
        self.compared: list[bytes] = []
        self.go_on = threading.Event()

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.compared.append(password)
        assert self.go_on.wait(20)
        return compare(password, hashed)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "web.yaml").write_text(USERS)
    return tmp_path / "web.yaml"


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def site(file: Path, slow: Slow) -> Iterator[RunningServer]:
    """A server that records comparisons without delaying them."""
    slow.go_on.set()
    with served(file, slow) as site:
        yield site


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def ask(
    site: RunningServer,
    authorization: str | None,
    path: str = "/metrics",
    method: str = "GET",
    source: str = "",
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(
        *site.address, timeout=20, source_address=(source, 0) if source else None
    )
    try:
        connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def test_the_right_password_gives_access_to_every_path(site: RunningServer) -> None:
    for path in ("/metrics", "/", "/-/healthy", "/-/ready"):
        assert ask(site, basic("alice", PASSWORD), path).status == 200


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/-/ready", "/nowhere"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_every_path_requires_a_password(site: RunningServer, path: str, method: str) -> None:
    response = ask(site, None, path, method)
    assert response.status == 401
    assert response.headers["www-authenticate"] == 'Basic realm="codearts-build-exporter", charset="UTF-8"'


@pytest.mark.parametrize(
    "authorization",
    [
        basic("alice", "wrong"),
        basic("alice", ""),
        basic("alice", PASSWORD + "0"),
        basic("alice", PASSWORD[:-1]),
        basic("alice", "a\0b"),
        basic("alice", "a" * 5000),
        basic("Alice", PASSWORD),
        basic("bob", PASSWORD),
        basic("", ""),
        "Basic",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Bearer " + PASSWORD,
        basic("alice", RIGHT),
    ],
)
def test_wrong_or_malformed_credentials_get_a_401(site: RunningServer, authorization: str) -> None:
    assert ask(site, authorization).status == 401


def test_the_scheme_is_case_insensitive(site: RunningServer) -> None:
    assert ask(site, basic("alice", PASSWORD).replace("Basic", "bAsIc")).status == 200


def test_bcrypt_ignores_bytes_after_the_first_72_as_in_go() -> None:
    hashed = bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4))
    assert compare(b"a" * 100, hashed)
    assert not compare(b"a" * 71, hashed)


def test_many_scrapes_cost_one_comparison(site: RunningServer, slow: Slow) -> None:
    assert {ask(site, basic("alice", PASSWORD)).status for _ in range(20)} == {200}
    assert slow.compared == [PASSWORD.encode()]


def test_a_repeated_wrong_password_costs_one_comparison(site: RunningServer, slow: Slow) -> None:
    assert {ask(site, basic("alice", "wrong")).status for _ in range(5)} == {401}
    assert slow.compared == [b"wrong"]


def test_the_password_of_an_unknown_user_is_compared_too(site: RunningServer, slow: Slow) -> None:
    assert ask(site, basic("bob", "wrong")).status == 401
    assert slow.compared == [b"wrong"]


def test_the_memory_for_wrong_passwords_is_bounded_and_evicts_no_right_one(
    site: RunningServer, slow: Slow
) -> None:
    ask(site, basic("alice", PASSWORD))
    connection = http.client.HTTPConnection(*site.address, timeout=20)
    for number in range(300):
        connection.request("GET", "/metrics", headers={"Authorization": basic("alice", f"wrong {number}")})
        connection.getresponse().read()
    connection.close()
    ask(site, basic("alice", PASSWORD))
    assert slow.compared.count(PASSWORD.encode()) == 1
    ask(site, basic("alice", "wrong 0"))
    assert slow.compared.count(b"wrong 0") == 2


def test_a_changed_hash_invalidates_the_known_password(site: RunningServer, slow: Slow, file: Path) -> None:
    assert ask(site, basic("alice", PASSWORD)).status == 200
    other = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
    file.write_text(f"basic_auth_users: {{alice: {other}}}\n")
    site.apply_changes()
    assert ask(site, basic("alice", PASSWORD)).status == 401
    assert ask(site, basic("alice", "another")).status == 200


class Attack:
    """A hundred wrong passwords at once from one address, whose comparisons do not end before `end`.

    One is compared, sixteen wait, the others are turned away.
    """

    def __init__(self, site: RunningServer, slow: Slow) -> None:
        slow.go_on.clear()
        answered = site.server.server_state.total_requests
        self._pool = ThreadPoolExecutor(100)
        self._replies = [
            self._pool.submit(ask, site, basic("alice", f"wrong {n}"), source="127.0.0.2") for n in range(100)
        ]
        self._slow = slow
        eventually(lambda: site.server.server_state.total_requests == answered + 83, 30)

    def end(self) -> None:
        self._slow.go_on.set()
        statuses = [reply.result().status for reply in self._replies]
        assert (statuses.count(401), statuses.count(429)) == (17, 83)
        self._pool.shutdown()


def test_a_hundred_wrong_passwords_do_not_delay_a_known_right_one(site: RunningServer, slow: Slow) -> None:
    assert ask(site, basic("alice", PASSWORD)).status == 200
    attack = Attack(site, slow)
    assert len(slow.compared) == 2
    assert ask(site, basic("alice", PASSWORD)).status == 200
    assert len(slow.compared) == 2  # so none of the hundred had come to an end
    attack.end()


def test_a_new_right_password_waits_for_one_of_a_hundred_wrong_ones(site: RunningServer, slow: Slow) -> None:
    attack = Attack(site, slow)
    with ThreadPoolExecutor(1) as pool:
        right = pool.submit(ask, site, basic("alice", PASSWORD))
        eventually(lambda: len(site.server.server_state.tasks) == 18, 10)
        attack.end()
        assert right.result().status == 200
    assert slow.compared.index(PASSWORD.encode()) <= 2


def test_passwords_of_disconnected_clients_are_not_compared(site: RunningServer, slow: Slow) -> None:
    slow.go_on.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, site, basic("alice", "wrong"))
        eventually(lambda: slow.compared == [b"wrong"], 10)
        for number in range(400):
            with socket.create_connection(site.address, timeout=10) as dropped:
                dropped.sendall(
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
                    b"Authorization: " + basic("alice", f"wrong {number}").encode() + b"\r\n\r\n"
                )
        eventually(lambda: len(site.server.server_state.connections) == 1, 10)
        right = pool.submit(ask, site, basic("alice", PASSWORD))
        eventually(lambda: len(site.server.server_state.connections) == 2, 10)
        slow.go_on.set()
        assert (first.result().status, right.result().status) == (401, 200)
    assert slow.compared == [b"wrong", PASSWORD.encode()]


def test_the_queue_is_bounded_across_addresses(site: RunningServer, slow: Slow) -> None:
    slow.go_on.clear()
    sources = [f"127.0.0.{number}" for number in range(2, 8)]
    with ThreadPoolExecutor(96) as pool:
        replies = [
            pool.submit(ask, site, basic("alice", f"wrong {number}"), source=source)
            for source in sources
            for number in range(16)
        ]
        eventually(lambda: site.server.server_state.total_requests == 31, 20)
        slow.go_on.set()
        statuses = [reply.result().status for reply in replies]
    assert (statuses.count(401), statuses.count(503)) == (65, 31)


def test_a_known_password_survives_other_changes(site: RunningServer, slow: Slow, file: Path) -> None:
    assert ask(site, basic("alice", PASSWORD)).status == 200
    other = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
    file.write_text(f"{USERS}  bob: {other}\nhttp_server_config: {{headers: {{X-Frame-Options: deny}}}}\n")
    site.apply_changes()
    response = ask(site, basic("alice", PASSWORD))
    assert (response.status, response.headers["x-frame-options"]) == (200, "deny")
    assert slow.compared == [PASSWORD.encode()]
    file.write_text(f"basic_auth_users: {{bob: {other}}}\n")
    site.apply_changes()
    assert ask(site, basic("alice", PASSWORD)).status == 401


def test_other_requests_are_answered_during_a_comparison(site: RunningServer, slow: Slow) -> None:
    slow.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, site, basic("alice", PASSWORD))
        eventually(lambda: len(slow.compared) == 1, 10)
        assert ask(site, None).status == 401
        assert not waiting.done()
        slow.go_on.set()
        assert waiting.result().status == 200


def test_configured_headers_are_on_every_response(file: Path) -> None:
    file.write_text(
        USERS + "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
        "    Content-Security-Policy: default-src 'self'\n"
    )
    with served(file) as site:
        replies = [ask(site, None)]
        replies += [ask(site, basic("alice", PASSWORD), path) for path in ("/", "/metrics", "/nowhere")]
    assert [reply.status for reply in replies] == [401, 200, 200, 404]
    for reply in replies:
        assert reply.headers.get_all("x-frame-options") == ["deny"]
        assert reply.headers.get_all("content-security-policy") == ["default-src 'self'"]


def test_requests_beyond_the_burst_get_a_429(file: Path) -> None:
    file.write_text("rate_limit: {interval: 1h, burst: 3}\n")
    with served(file) as site:
        assert [ask(site, None, "/-/ready").status for _ in range(5)] == [200, 200, 200, 429, 429]


def test_no_password_and_no_hash_is_logged(
    site: RunningServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    for password in (PASSWORD, "wr0ng-secret"):
        ask(site, basic("alice", password))
    output = caplog.text + "".join(capfd.readouterr())
    for secret in (PASSWORD, "wr0ng-secret", RIGHT, basic("alice", PASSWORD).split()[1]):
        assert secret not in output
