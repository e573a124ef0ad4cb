"""``POST /-/reload``: access to it, and many requests at once."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from exporter.errors import ConfigError
from exporter.metrics.exporter_metrics import Telemetry
from exporter.web import Reloads, WebServer, application
from tests.support.programs import eventually
from tests.support.sites import Fleet, listening
from tests.web.test_routes import VIEW, metrics, publishing


class Reload:
    """Counts reloads, and delays them until `go_on` is set."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Event()
        self.error: ConfigError | None = None

    def __call__(self) -> None:
        self.begun += 1
        assert self.go_on.wait(20)
        if self.error:
            raise self.error


@pytest.fixture
def reload() -> Iterator[Reload]:
    reload = Reload()
    yield reload
    reload.go_on.set()


@contextmanager
def site(reload: Reload) -> Iterator[tuple[WebServer, int]]:
    readings = Telemetry(CollectorRegistry()).readings
    app = application(metrics(publishing(VIEW)), Fleet(VIEW), readings, reloads=Reloads(reload))
    server = WebServer(app)
    with listening(server) as (_, port):
        yield server, port


def post(port: int, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/-/reload", headers={"Host": "exporter.test:10088", **named})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://exporter.test:10088"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://behind.a.proxy"}, 200),
        ({"Origin": "http://exporter.test:10088"}, 200),
        ({"Origin": "http://exporter.test"}, 403),
        ({"Origin": "http://elsewhere.test"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_cross_site_requests_cannot_reload(reload: Reload, headers: dict[str, str], status: int) -> None:
    reload.go_on.set()
    with site(reload) as (_, port):
        assert post(port, **headers)[0] == status
    assert reload.begun == (status == 200)


def test_requests_during_a_reload_share_the_next_one(reload: Reload) -> None:
    with site(reload) as (server, port), ThreadPoolExecutor(60) as pool:
        first = pool.submit(post, port)
        eventually(lambda: reload.begun == 1, 10)
        others = [pool.submit(post, port) for _ in range(50)]
        eventually(lambda: len(server.server_state.tasks) == 51, 10)
        reload.go_on.set()
        assert {reply.result() for reply in (first, *others)} == {(200, "reloaded\n")}
    assert reload.begun == 2


def test_every_request_that_shares_a_reload_reports_its_failure(reload: Reload) -> None:
    reload.error = ConfigError("config.yaml:1: is empty")
    with site(reload) as (server, port), ThreadPoolExecutor(10) as pool:
        pool.submit(post, port)
        eventually(lambda: reload.begun == 1, 10)
        others = [pool.submit(post, port) for _ in range(5)]
        eventually(lambda: len(server.server_state.tasks) == 6, 10)
        reload.go_on.set()
        assert {reply.result() for reply in others} == {(500, "not reloaded: config.yaml:1: is empty\n")}
