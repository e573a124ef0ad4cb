"""Scrapes like those of Prometheus, timed from the request to the last byte."""

import socket
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

_ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
_ACCEPT_PROTOBUF: Final = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""With the feature ``native-histograms``."""
_BUFFER: Final = 1 << 20


@dataclass(frozen=True)
class Mode:
    """Options of a scrape."""

    gzip: bool = True
    kept_alive: bool = True
    scrapers: int = 1
    pause_s: float = 0.0
    protobuf: bool = False

    def __str__(self) -> str:
        return (
            f"{'gzip' if self.gzip else 'plain'}, {'kept alive' if self.kept_alive else 'new connections'}, "
            f"{self.scrapers} at once"
        )


@dataclass(frozen=True)
class Times:
    """Quantiles of durations in seconds."""

    p50: float
    p99: float
    worst: float
    scrapes: int

    @classmethod
    def of(cls, times: list[float]) -> "Times":
        """Summarise a non-empty list of durations."""
        cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else times * 99
        return cls(cuts[49], cuts[98], max(times), len(times))


def scrape(executor: Executor, port: int, mode: Mode, seconds: float, at_least: int = 1) -> list[float]:
    """Scrape for the given time, and at least `at_least` times; return the durations of all scrapers."""
    runs = [executor.submit(_scrape, port, mode, seconds, at_least) for _ in range(mode.scrapers)]
    return [time_s for run in runs for time_s in run.result()]


def fetch(port: int, *, gzip: bool, protobuf: bool = False) -> bytes:
    """Return the body of one scrape."""
    mode = Mode(gzip=gzip, kept_alive=False, protobuf=protobuf)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return _exchange(connection, _request(mode), keep=True)[1]


def _scrape(port: int, mode: Mode, seconds: float, at_least: int) -> list[float]:
    request = _request(mode)
    times: list[float] = []
    until = time.monotonic() + seconds
    connection: socket.socket | None = None
    while len(times) < at_least or time.monotonic() < until:
        time.sleep(mode.pause_s)
        began = time.perf_counter()
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stays_open, _ = _exchange(connection, request)
        times.append(time.perf_counter() - began)
        if not (mode.kept_alive and stays_open):
            connection.close()
            connection = None
    if connection:
        connection.close()
    return times


def _request(mode: Mode) -> bytes:
    lines = [
        "GET /metrics HTTP/1.1",
        "Host: localhost",
        f"Accept: {_ACCEPT_PROTOBUF if mode.protobuf else _ACCEPT}",
        "User-Agent: Prometheus/2.42.0",
        "X-Prometheus-Scrape-Timeout-Seconds: 10",
        *(["Accept-Encoding: gzip"] if mode.gzip else []),
        *([] if mode.kept_alive else ["Connection: close"]),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _exchange(connection: socket.socket, request: bytes, *, keep: bool = False) -> tuple[bool, bytes]:
    """Send a request and read the response.

    Returns:
        Whether the server keeps the connection open, and the body, which is complete only with `keep`.
    """
    buffer = memoryview(bytearray(_BUFFER))
    kept = bytearray()
    connection.sendall(request)
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError("closed before the end of the headers")
        head += received
    head, _, body = head.partition(b"\r\n\r\n")
    kept += body
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        None,
    )
    got = len(body)
    while length is None or got < length:
        size = connection.recv_into(buffer)
        if not size:
            break
        got += size
        if keep:
            kept += buffer[:size]
    return head.startswith(b"HTTP/1.1"), bytes(kept)
