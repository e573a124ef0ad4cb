"""Malformed requests over real sockets: each is answered or disconnected, and the metrics do not change.

``python -m tests.fuzz.requests --runs N --seed S``
"""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Final

from prometheus_client import CollectorRegistry

from exporter.exposition.publisher import Publisher
from exporter.metrics import FleetView
from exporter.metrics.exporter_metrics import Telemetry
from exporter.web import MetricsEndpoint, WebServer, application
from tests.exposition.views import busy
from tests.fuzz.command import main
from tests.fuzz.damage import damaged_bytes
from tests.support.sites import Fleet, listening

POOLED: Final = 41
"""Maximum number of threads started on demand: for the status page and for reloads."""

METHODS: Final = (*("GET",) * 6, "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "get", "G\x00T", "", "A" * 3000)
PATHS: Final = (
    *("/metrics", "/", "/-/healthy", "/-/ready", "/-/reload", "/metrics?x=1", "/metrics/", "//metrics", "*"),
    *("/%2e%2e/etc/passwd", "/\x00", "/" + "a" * 9000, "http://elsewhere/metrics", "/metrics#x", "/%", "/é"),
)
VERSIONS: Final = (*("HTTP/1.1",) * 6, "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 ", "SIP/2.0", "")
HEADERS: Final = (
    *("Host: x", "Connection: close", "Connection: keep-alive", "Accept: text/plain", "Accept: */*;q=x"),
    *("Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", "Accept-Encoding: gzip"),
    *("Accept-Encoding: gzip;q=0, *;q=1", "Accept-Encoding: " + "gzip," * 900, "Content-Length: 5"),
    *("Content-Length: -1", "Content-Length: 99999999999999999999", "Transfer-Encoding: chunked"),
    *(
        "Transfer-Encoding: chunked, identity",
        "Upgrade: websocket",
        "Expect: 100-continue",
        "Range: bytes=0-1",
    ),
    *("X: " + "y" * 20_000, "No colon", ": no name", "A b: c", "X:\x00", "X:\r y", "Authorization: Basic !!"),
)


def run(runs: int, seed: int) -> Counter[str]:
    """Send malformed requests, and return how often each status occurred.

    Raises:
        AssertionError: metrics or threads of the server changed.
    """
    rng = Random(seed)
    outcomes: Counter[str] = Counter()
    others = set(threading.enumerate())
    with _server() as port:
        before = _scraped(port)
        threads = set(threading.enumerate()) - others
        for _ in range(runs):
            outcomes[_status(_send(port, _request(rng)))] += 1
        assert _scraped(port) == before
        assert threads <= (now := set(threading.enumerate()) - others)
        assert len(now) <= len(threads) + POOLED
    return outcomes


def _request(rng: Random) -> bytes:
    lines = [
        f"{rng.choice(METHODS)} {rng.choice(PATHS)} {rng.choice(VERSIONS)}",
        *rng.choices(HEADERS, k=rng.randrange(5)),
    ]
    request = (rng.choice(("\r\n",) * 5 + ("\n",)).join(lines) + "\r\n\r\n").encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        request += rng.randbytes(rng.randrange(300))
    if rng.random() < 0.2:
        request *= rng.randrange(1, 9)
    return damaged_bytes(request, rng) if rng.random() < 0.3 else request


def _send(port: int, request: bytes, within: float = 0.05) -> bytes:
    """Send bytes and return the response; it is empty if the server waits for more or disconnects."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        answer = b""
        with suppress(OSError):
            connection.sendall(request)
            connection.settimeout(within)
            while part := connection.recv(65536):
                answer += part
        return answer


def _status(answer: bytes) -> str:
    if not answer:
        return "nothing"
    version, _, rest = answer.partition(b" ")
    assert version == b"HTTP/1.1", answer[:100]
    assert rest[:3] != b"500", answer[:300]
    return rest[:3].decode()


def _scraped(port: int) -> bytes:
    answer = _send(port, b"GET /metrics HTTP/1.0\r\n\r\n", within=10)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    return answer.partition(b"\r\n\r\n")[2]


@contextmanager
def _server() -> Iterator[int]:
    view = FleetView(tuple(map(busy, range(20))))
    publisher = Publisher(lambda: view, Telemetry(CollectorRegistry()))
    publisher.start()
    telemetry = Telemetry(CollectorRegistry())
    metrics = MetricsEndpoint(publisher, CollectorRegistry())
    try:
        with listening(WebServer(application(metrics, Fleet(view), telemetry.readings))) as (_, port):
            yield port
    finally:
        publisher.stop()


if __name__ == "__main__":
    main(__doc__, run, 10_000, "malformed requests")
