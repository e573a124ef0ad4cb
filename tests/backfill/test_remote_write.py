"""Remote write to a real Prometheus, and to receivers that fail."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cramjam
import pytest
import requests

from exporter.backfill.fetch_with_retries import Notices
from exporter.backfill.openmetrics import Points
from exporter.backfill.remote_write import RemoteWrite, bodies
from exporter.errors import BackfillError
from exporter.simulator import Fleet, Plan, RealClock, Simulator
from tests.backfill.conftest import NOON_MS, read
from tests.cli.conftest import run
from tests.support.programs import program, prometheus

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START = f"{NOW - timedelta(days=2):%Y-%m-%dT%H:%M:%SZ}"
END = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"


class Receiver(http.server.ThreadingHTTPServer):
    """Sends the given responses, then 204; ``breaks off`` and ``garbage`` are unreadable."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.cut_off = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v1/write"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), body))
        status, text = self.server.answers.pop(0) if self.server.answers else (204, "")
        self.send_response(status)
        if text == "breaks off":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ff\r\nbegun")
            return
        if text == "garbage":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        try:
            self.wfile.write(text.encode())
        except OSError:
            self.server.cut_off += 1

    def log_request(self, *_: object) -> None:
        pass


@contextmanager
def receiving(*answers: tuple[int, str]) -> Iterator[Receiver]:
    with Receiver(*answers) as receiver:
        threading.Thread(target=receiver.serve_forever, args=(0.02,), daemon=True).start()
        yield receiver
        receiver.shutdown()


def sent(receiver: Receiver, said: list[str] | None = None, **headers: str) -> RemoteWrite:
    notices = Notices(([] if said is None else said).append)
    return RemoteWrite(receiver.url, headers, requests.Session(), notices, sleep=lambda _: None)


def test_an_unavailable_receiver_is_retried() -> None:
    with receiving((503, "busy"), (429, "too many"), (500, "")) as receiver:
        sent(receiver, Authorization="Bearer made-up").send(b"body")
    assert [body for _, body in receiver.requests] == [b"body"] * 4
    headers = receiver.requests[0][0]
    assert headers["Authorization"] == "Bearer made-up"
    assert headers["Content-Encoding"] == "snappy"


@pytest.mark.parametrize("broken", ["breaks off", "garbage"])
def test_an_unreadable_response_counts_as_a_lost_connection(broken: str) -> None:
    said: list[str] = []
    with receiving((200, broken)) as receiver:
        sent(receiver, said).send(b"body")
    assert [body for _, body in receiver.requests] == [b"body"] * 2
    assert len(said) == 1
    assert said[0].startswith("remote write: no answer (")
    assert said[0].endswith("): retrying in 1 s")


def test_a_problem_is_reported_once() -> None:
    said: list[str] = []
    with receiving((503, "busy"), (503, "busy")) as receiver:
        sent(receiver, said).send(b"body")
    assert said == ["remote write: HTTP 503 (busy): retrying in 1 s"]


def test_empty_labels_are_not_sent() -> None:
    [body] = bodies([[Points([NOON_MS], 'up{branch="",job_name="x"} 1\n')]])
    raw = bytes(cramjam.snappy.decompress_raw(body))
    assert b"job_name" in raw
    assert b"branch" not in raw


def test_a_refusal_is_reported_with_its_reason() -> None:
    with receiving((400, "out of bounds")) as receiver, pytest.raises(BackfillError) as error:
        sent(receiver).send(b"body")
    assert str(error.value) == (
        "remote write: HTTP 400: out of bounds; Prometheus needs storage.tsdb.out_of_order_time_window "
        "to reach back to --start"
    )
    assert len(receiver.requests) == 1


def test_control_characters_of_a_receiver_are_escaped() -> None:
    with receiving((400, "no\x1b[31m\x07 \x9b \u202e")) as receiver, pytest.raises(BackfillError) as error:
        sent(receiver).send(b"body")
    assert str(error.value) == "remote write: HTTP 400: no\\x1b[31m\\x07 \\x9b \\u202e"


def test_a_response_is_not_read_to_its_end() -> None:
    text = "x" * 50_000_000
    with receiving((200, text), (400, text)) as receiver:
        sent(receiver).send(b"body")
        with pytest.raises(BackfillError):
            sent(receiver).send(b"body")
    assert receiver.cut_off == 2


@pytest.mark.parametrize(
    ("user", "header", "expected"),
    [
        ("", {"Authorization": "Bearer given"}, "Bearer given"),
        ("in:url@", {"authorization": "Bearer given"}, "Bearer given"),
        ("in:url@", {}, "Basic aW46dXJs"),
        ("", {}, "Basic b2Y6bmV0cmM="),
    ],
)
def test_given_credentials_override_netrc(
    user: str,
    header: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login of password netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with receiving() as receiver:
        url = receiver.url.replace("//", f"//{user}")
        RemoteWrite(url, header, requests.Session(), Notices(lambda _: None)).send(b"body")
    [(headers, _)] = receiver.requests
    assert {name.title(): value for name, value in headers.items()}["Authorization"] == expected


def test_a_refused_connection_is_reported() -> None:
    with receiving() as receiver:
        gone = sent(receiver)
    receiver.server_close()
    with pytest.raises(BackfillError, match="remote write: no answer"):
        gone.send(b"body")


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    fleet = Fleet(RealClock(), seed=2, history_days=4)
    for name in ("checkout", 'cart "new"'):
        fleet.add_job(name, plan=Plan(gap_s=3000, duration_s=90, failure_ratio=0.3))
    with Simulator(fleet).start() as simulator:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"endpoint: {simulator.url}\nauth: {{token: {simulator.credentials.tokens[0]}}}\n"
            f"jobs: [{', '.join(job.id for job in fleet.jobs())}]\n"
            "poll: {max_requests_per_minute: 100000}\n"
        )
        yield path


def test_prometheus_receives_the_contents_of_the_files(config: Path, tmp_path: Path) -> None:
    program("prometheus")
    flags = [f"--config.file={config}", f"--start={START}", f"--end={END}", "--step=1h"]
    files = run("backfill", *flags, f"--output={tmp_path / 'out'}", folder=tmp_path)
    assert files.code == 0, files.err
    late = "storage: {tsdb: {out_of_order_time_window: 40d}}\n"
    with prometheus("localhost:9", tmp_path, "--web.enable-remote-write-receiver", settings=late) as receiver:
        sending = ["backfill", *flags, f"--remote-write={receiver.url}/api/v1/write"]
        done = run(*sending, folder=tmp_path)
        assert done.code == 0, done.err
        again = run(*sending, folder=tmp_path)
        assert again.code == 0, again.err
        shown = read(sorted((tmp_path / "out").glob("*.om")))
        for name in {name for name, _ in shown}:
            wanted = {
                labels: list(values.items()) for (named, labels), values in shown.items() if named == name
            }
            assert receiver.samples(f"{name}[3d]") == wanted
