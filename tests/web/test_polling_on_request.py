"""``POST /-/poll``: access to it, and what it reads of a request."""

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.metrics.exporter_metrics import Telemetry
from exporter.web import WatchedConfig, WebServer, application
from exporter.web import connection as connection_module
from tests.support.programs import eventually
from tests.support.sites import Fleet, listening
from tests.web.served import PASSWORD, RIGHT
from tests.web.test_routes import VIEW, metrics, publishing

JOB, OTHER = "48c66c6002964721be537cdc6ce0297b", "f9d6c8466d614a9788e9a0acf6c15f46"


class Hints:
    """Remembers the jobs that were named and are watched."""

    def __init__(self) -> None:
        self.calls: list[set[str]] = []

    def __call__(self, job_ids: Iterable[str]) -> int:
        self.calls.append(set(job_ids) & {JOB, OTHER})
        return len(self.calls[-1])


@contextmanager
def site(hints: Hints | None, file: Path | None = None) -> Iterator[int]:
    app = application(
        metrics(publishing(VIEW)), Fleet(VIEW), Telemetry(CollectorRegistry()).readings, hint=hints
    )
    with listening(WebServer(app, WatchedConfig(file))) as (_, port):
        yield port


def request(
    port: int, path: str = "/-/poll", body: bytes = b"", method: str = "POST", headers: Mapping[str, str] = {}
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers={"Host": "exporter.test:10088", **headers})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


PAYLOAD = {"event": "buildJobSuccess", "job": {"id": JOB, "url": f"https://host/job/{OTHER}/7"}, "n": 1}


@pytest.mark.parametrize(
    ("path", "body", "jobs"),
    [
        (f"/-/poll?job_id={JOB}", b"", {JOB}),
        (f"/-/poll?job_id={JOB}&job_id={OTHER}", b"", {JOB, OTHER}),
        ("/-/poll", f"job_id={JOB}".encode(), {JOB}),
        ("/-/poll", json.dumps(PAYLOAD).encode(), {JOB, OTHER}),
        ("/-/poll", f"job_id={'a' * 32}".encode(), set()),
        ("/-/poll", b"", set()),
    ],
    ids=["query", "several", "form", "payload", "unknown", "nothing"],
)
def test_the_watched_jobs_in_a_request_are_polled(path: str, body: bytes, jobs: set[str]) -> None:
    hints = Hints()
    with site(hints) as port:
        number = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
        remark = "" if jobs else ": neither query nor body contains the ID of a watched job"
        assert request(port, path, body) == (202, f"{number} will be polled{remark}\n")
    assert hints.calls == [jobs]


def test_it_is_disabled_without_the_flag() -> None:
    with site(None) as port:
        status, text = request(port, f"/-/poll?job_id={JOB}")
        assert (status, "--web.enable-lifecycle" in text) == (403, True)


def test_only_post_is_allowed() -> None:
    hints = Hints()
    with site(hints) as port:
        assert request(port, f"/-/poll?job_id={JOB}", method="GET")[0] == 405
    assert hints.calls == []


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.test"}],
    ids=["site", "origin"],
)
def test_web_pages_of_other_origins_are_refused(headers: dict[str, str]) -> None:
    hints = Hints()
    with site(hints) as port:
        assert request(port, f"/-/poll?job_id={JOB}", headers=headers)[0] == 403
        assert (
            request(port, f"/-/poll?job_id={JOB}", headers={"Origin": "http://exporter.test:10088"})[0] == 202
        )
    assert hints.calls == [{JOB}]


def test_a_body_of_64_kib_is_read(caplog: pytest.LogCaptureFixture) -> None:
    hints = Hints()
    with site(hints) as port:
        assert request(port, body=b"a" * (64 * 1024 - 64) + f"/{JOB}".encode())[0] == 202
    assert hints.calls == [{JOB}]


@pytest.mark.parametrize("is_in_one_piece", [True, False])
def test_a_body_of_one_byte_more_is_refused(caplog: pytest.LogCaptureFixture, is_in_one_piece: bool) -> None:
    head = b"POST /-/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n"
    body = f"{JOB}/".encode().ljust(64 * 1024 + 1, b"a")
    hints = Hints()
    with site(hints) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(30)
        for piece in [head + body] if is_in_one_piece else [head, body]:
            connection.sendall(piece)
            time.sleep(0.05)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert (hints.calls, caplog.records) == ([], [])


def test_a_longer_body_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    hints = Hints()
    with site(hints) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /-/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"a" * 200_000
        )
        connection.settimeout(30)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert (hints.calls, caplog.records) == ([], [])


def test_a_client_that_does_not_end_its_body_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection_module, "REQUEST_TIMEOUT_S", 0.5)
    hints = Hints()
    with site(hints) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"POST /-/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{JOB}".encode())
        connection.settimeout(30)
        with suppress(ConnectionResetError):
            assert connection.recv(1000) == b""
    assert (hints.calls, caplog.records) == ([], [])


def test_it_needs_the_password_if_there_is_one(tmp_path: Path) -> None:
    file, hints = tmp_path / "web.yaml", Hints()
    file.write_text(f"basic_auth_users: {{u: {RIGHT}}}\n")
    with site(hints, file) as port:
        assert request(port, f"/-/poll?job_id={JOB}")[0] == 401
        assert hints.calls == []
        token = base64.b64encode(f"u:{PASSWORD}".encode()).decode()
        assert request(port, f"/-/poll?job_id={JOB}", headers={"Authorization": f"Basic {token}"})[0] == 202


def test_a_client_that_leaves_amid_a_body_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    hints = Hints()
    with site(hints) as port:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                f"POST /-/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{JOB}".encode()
            )
        assert request(port, body=OTHER.encode())[0] == 202
        eventually(lambda: hints.calls == [{OTHER}], 10)
    assert caplog.records == []
