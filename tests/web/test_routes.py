"""The HTTP interface, by a real server on a real socket."""

import asyncio
import gzip
import http.client
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest
import requests
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector
from starlette.types import Message

from exporter.exposition import Format
from exporter.exposition.publisher import Publisher
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Job
from exporter.web import MetricsEndpoint, WebServer, application
from tests.ledger.examples import idle
from tests.support.client_model import families
from tests.support.programs import eventually
from tests.support.sites import Fleet, listening

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
DELIMITED = PROTOBUF.replace(" ", "")

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_42_PROTOBUF = (
    f"{DELIMITED},application/openmetrics-text;version=1.0.0;q=0.8,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_PROTOBUF = (
    f"{DELIMITED};q=0.6,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """The exporter's HTTP interface, and the plainest of callers."""

    port: int
    fleet: Fleet

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        finally:
            connection.close()


VIEW = FleetView(
    tuple(JobView(Job(str(ordinal), f"构建 {ordinal}", "shop"), idle(), up=True) for ordinal in range(15))
)


def metrics(publisher: Publisher) -> MetricsEndpoint:
    registry = CollectorRegistry()
    live = Gauge("codearts_build_up", "Up.", registry=registry)
    live.set(1)
    return MetricsEndpoint(publisher, registry)


def publishing(view: FleetView) -> Publisher:
    return Publisher(lambda: view, Telemetry(CollectorRegistry()))


def jobs(families: Iterable[Metric]) -> int:
    """Count the jobs that are up; the last family must be an own metric."""
    *ready, live = families
    assert [sample.value for sample in live.samples] == [1]
    (up,) = (family for family in ready if family.name == "codearts_build_job_up")
    return len(up.samples)


@pytest.fixture(scope="module", params=["/metrics", "/deep/down"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    yield from serve(request.param)


def serve(telemetry_path: str, view: FleetView = VIEW) -> Iterator[Site]:
    fleet = Fleet(view)
    publisher = publishing(view)
    publisher.start()
    readings = Telemetry(CollectorRegistry()).readings
    app = application(metrics(publisher), fleet, readings, telemetry_path)
    with listening(WebServer(app)) as (_, port):
        yield Site(port, fleet)
    publisher.stop()


@pytest.fixture(scope="module")
def plain() -> Iterator[Site]:
    """The default paths."""
    yield from serve("/metrics")


def test_metrics_are_at_the_configured_path(site: Site) -> None:
    where = [path for path in ("/metrics", "/deep/down") if site.ask(path).status == 200]
    assert len(where) == 1
    assert f'href=".{where[0]}"' in site.ask("/").body.decode()


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "text/plain",
        "text/plain;version=0.0.4",
        "text/plain;version=1.0.0;escaping=allow-utf-8",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json",
        "application/vnd.google.protobuf",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
        "application/vnd.google.protobuf;proto=io.prometheus.client.Metric;encoding=delimited",
        "application/vnd.google.protobuf;encoding=delimited,text/plain;q=0.1",
        f"{DELIMITED};q=0",
        f"{DELIMITED};q=0.4,text/plain;version=0.0.4;q=0.5",
        "application/openmetrics-text;version=9.9.9",
        "application/openmetrics-text;version=x.y",
        "application/openmetrics-text;q=0",
        "application/openmetrics-text;q=0.1,text/plain;q=0.9",
        "application/openmetrics-text;q=nan",
        ";;;,,,q=;=",
        "\xff\xfe garbage",
        "a" * 5000,
    ],
)
def test_the_text_format_is_the_default(plain: Site, accept: str | None) -> None:
    reply = plain.ask("/metrics") if accept is None else plain.ask("/metrics", Accept=accept)
    assert (reply.status, reply.headers["content-type"]) == (200, TEXT)
    assert jobs(parse_text(reply.body.decode())) == len(VIEW.jobs)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2_42,
        PROMETHEUS_3,
        "application/openmetrics-text",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Application/OpenMetrics-Text;version=0.0.1",
        'application/openmetrics-text; version="1.0.0"',
        "text/plain;q=0.5, application/openmetrics-text;q=0.5",
    ],
)
def test_openmetrics_is_sent_to_clients_that_prefer_it(plain: Site, accept: str) -> None:
    reply = plain.ask("/metrics", Accept=accept)
    assert (reply.status, reply.headers["content-type"]) == (200, OPENMETRICS)
    assert jobs(parse_openmetrics(reply.body.decode())) == len(VIEW.jobs)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2_42_PROTOBUF,
        PROMETHEUS_3_PROTOBUF,
        DELIMITED,
        PROTOBUF.upper(),
        'application/vnd.google.protobuf; proto="io.prometheus.client.MetricFamily"; encoding="delimited"',
        f"application/openmetrics-text;q=0.5,{DELIMITED};q=0.5",
    ],
)
@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
def test_protobuf_is_sent_to_clients_that_prefer_it(plain: Site, accept: str, accept_encoding: str) -> None:
    reply = plain.ask("/metrics", Accept=accept, Accept_Encoding=accept_encoding)
    assert (reply.status, reply.headers["content-type"]) == (200, PROTOBUF)
    body = gzip.decompress(reply.body) if accept_encoding == "gzip" else reply.body
    *ready, live = families(body)
    assert (live.name, [metric.gauge.value for metric in live.metric]) == ("codearts_build_up", [1])
    (up,) = (family for family in ready if family.name == "codearts_build_job_up")
    assert len(up.metric) == len(VIEW.jobs)


def test_metrics_are_compressed_for_clients_that_accept_gzip(plain: Site) -> None:
    plainly = plain.ask("/metrics")
    packed = plain.ask("/metrics", Accept_Encoding="gzip, deflate")
    assert "content-encoding" not in plainly.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"].lower()
    assert gzip.decompress(packed.body) == plainly.body
    assert len(packed.body) < len(plainly.body)


@pytest.mark.parametrize(
    "accept_encoding", ["", "br", "gzip;q=0", "*;q=0", "identity", "gzip;q=x", "deflate, br;q=1", "\xff"]
)
def test_metrics_are_not_compressed_for_other_clients(plain: Site, accept_encoding: str) -> None:
    reply = plain.ask("/metrics", Accept_Encoding=accept_encoding)
    assert "content-encoding" not in reply.headers
    assert jobs(parse_text(reply.body.decode())) == len(VIEW.jobs)


@pytest.mark.parametrize("accept_encoding", ["GZIP", "br;q=1, gzip;q=0.1", "*", "x-gzip", "br, *;q=0.5"])
def test_every_notation_for_gzip_is_understood(plain: Site, accept_encoding: str) -> None:
    assert plain.ask("/metrics", Accept_Encoding=accept_encoding).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS_3])
@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
def test_the_content_length_is_sent_for_get_and_head(plain: Site, accept: str, accept_encoding: str) -> None:
    get = plain.ask("/metrics", Accept=accept, Accept_Encoding=accept_encoding)
    head = plain.ask("/metrics", "HEAD", Accept=accept, Accept_Encoding=accept_encoding)
    assert head.body == b""
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))


def test_a_fleet_of_thousands_is_sent_completely() -> None:
    many = tuple(JobView(Job(f"{n:032d}", f"job-{n}", "shop"), idle(), up=True) for n in range(3000))
    for site in serve("/metrics", FleetView(many)):
        for headers in ({"Accept": PROMETHEUS_3}, {"Accept": PROMETHEUS_3, "Accept_Encoding": "gzip"}):
            reply = site.ask("/metrics", **headers)
            body = gzip.decompress(reply.body) if "Accept_Encoding" in headers else reply.body
            assert body.endswith(b"# EOF\n")
            assert body.count(b"codearts_build_job_up{") == 3000


def test_own_metrics_are_rendered_at_most_once_a_second() -> None:
    now, collected = [100.0], []

    class Live(Collector):
        def collect(self) -> Iterator[Metric]:
            collected.append(now[0])
            yield GaugeMetricFamily("live", "Live.", value=now[0])

    registry = CollectorRegistry()
    registry.register(Live())
    collected.clear()
    publisher = publishing(VIEW)
    publisher.latest(Format.TEXT, gzip=False)
    publisher.publish()
    endpoint = MetricsEndpoint(publisher, registry, monotonic=lambda: now[0])
    seen = []
    for moment in (100.0, 100.5, 100.99, 101.0, 103.0):
        now[0] = moment
        seen.append(scraped(endpoint).rpartition(b"live ")[2])
    assert seen == [b"100.0\n", b"100.0\n", b"100.0\n", b"101.0\n", b"103.0\n"]
    assert collected == [100.0, 101.0, 103.0]


def test_the_wait_for_a_snapshot_is_bounded() -> None:
    now = [0.0]

    def later() -> float:
        now[0] += 10
        return now[0]

    endpoint = MetricsEndpoint(publishing(VIEW), CollectorRegistry(), monotonic=later)
    assert messages(endpoint)[0]["status"] == 503


def test_a_body_is_dropped_after_a_second() -> None:
    now = [0.0]
    publisher = publishing(VIEW)
    publisher.publish()
    endpoint = MetricsEndpoint(publisher, CollectorRegistry(), monotonic=lambda: now[0])
    for form in (Format.TEXT, Format.OPENMETRICS):
        publisher.latest(form, gzip=False)
        publisher.publish()
    messages(endpoint)
    now[0] = 5.0
    messages(endpoint, (b"accept", b"application/openmetrics-text"))
    assert [form for form, _ in endpoint._bodies] == [Format.OPENMETRICS]


def scraped(endpoint: MetricsEndpoint) -> bytes:
    """The body, without a server."""
    return b"".join(message.get("body", b"") for message in messages(endpoint))


def messages(endpoint: MetricsEndpoint, *headers: tuple[bytes, bytes]) -> list[Message]:
    """The ASGI messages that are sent, without a server."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("there is nothing to read")

    asyncio.run(endpoint({"type": "http", "method": "GET", "headers": headers}, receive, send))
    return sent


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/healthy", "/-/ready"])
def test_head_answers_like_get_without_a_body(plain: Site, path: str) -> None:
    head, get = plain.ask(path, "HEAD"), plain.ask(path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.body))
    assert head.headers["content-type"] == get.headers["content-type"]


def test_healthy_answers_200(plain: Site) -> None:
    assert (plain.ask("/-/healthy").status, plain.ask("/-/healthy").body) == (200, b"healthy\n")


def test_ready_follows_the_poller(plain: Site) -> None:
    plain.fleet.is_ready = False
    assert plain.ask("/-/ready").status == 503
    assert plain.ask("/-/ready").body.startswith(b"not ready: ")
    assert plain.ask("/-/healthy").status == 200
    plain.fleet.is_ready = True
    assert plain.ask("/-/ready").status == 200
    assert plain.ask("/-/ready").body.startswith(b"ready: ")


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        (FleetView(), b"no job list was read yet"),
        (FleetView(is_complete=True), b"no jobs known"),
        (FleetView((JobView(Job("a", "a", "p"), idle()),)), b"1 of 1 job known"),
        (
            FleetView(
                tuple(
                    JobView(
                        Job(str(number), "", ""),
                        idle() if number < 1200 else None,
                        up=None if number % 600 else False,
                    )
                    for number in range(1250)
                )
            ),
            b"1,200 of 1,250 jobs known, 3 not visible",
        ),
    ],
    ids=["before the lists", "without jobs", "one job", "many jobs"],
)
def test_ready_says_how_many_jobs_are_known(
    plain: Site, monkeypatch: pytest.MonkeyPatch, fleet: FleetView, expected: bytes
) -> None:
    monkeypatch.setattr(plain.fleet, "view", fleet)
    assert plain.ask("/-/ready").body == b"ready: " + expected + b"\n"


@pytest.mark.parametrize("path", ["/nowhere", "/metrics/", "/-/", "/-/healthy/x", "/../etc/passwd", "/%00"])
def test_other_paths_are_not_found(plain: Site, path: str) -> None:
    assert plain.ask(path).status in (307, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_methods_that_write_get_a_405(plain: Site, method: str) -> None:
    assert {plain.ask(path, method).status for path in ("/metrics", "/", "/-/ready")} == {405}
    assert plain.ask("/metrics", method).headers["allow"] == "GET, HEAD"


def test_there_is_no_server_header(plain: Site) -> None:
    assert "server" not in plain.ask("/metrics").headers


def talk(site: Site, sent: Iterable[bytes]) -> bytes:
    """Whatever comes back for these bytes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        with suppress(OSError):
            for part in sent:
                connection.sendall(part)
        answer = b""
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
        return answer


@pytest.mark.parametrize(
    "request_parts",
    [
        [b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ", *[b"a" * 10_000] * 100],
        [b"GET /metrics HTTP/1.1\r\n", *[b"X-%d: y\r\n" % n for n in range(20_000)]],
        [b"GET /", *[b"a" * 10_000] * 100],
        [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", *[b"a" * 10_000] * 100],
    ],
    ids=["one endless header", "endless headers", "an endless path", "a large body"],
)
def test_an_endless_request_is_cut_off(plain: Site, request_parts: list[bytes]) -> None:
    answer = talk(plain, request_parts)  # may be lost with the unread request, but must end
    assert not answer or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))
    assert plain.ask("/-/healthy").status == 200


def test_pipelined_requests_are_answered_in_order(plain: Site) -> None:
    request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = talk(plain, [request * 500 + last])
    assert (answers.count(b"healthy\n"), answers.count(b"HTTP/1.1 200 OK")) == (500, 501)
    assert answers.endswith(b" known\n")


def test_requests_that_wait_at_shutdown_get_a_503_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    never_ready = metrics(publishing(VIEW))
    server = WebServer(application(never_ready, Fleet(VIEW), Telemetry(CollectorRegistry()).readings))
    with ThreadPoolExecutor(1) as pool, listening(server) as (host, port):
        waiting = pool.submit(requests.get, f"http://{host}:{port}/metrics", timeout=30)
        eventually(lambda: len(server.server_state.tasks) == 1, 20)
        server.should_exit = True
        answer = waiting.result()
    assert (answer.status_code, answer.text) == (503, "the exporter is shutting down\n")
    assert [record.message for record in caplog.records if record.exc_info] == []
