"""The metrics path: a prepared snapshot, followed by the exporter's own metrics."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.types import Receive, Scope, Send

from exporter.exposition import Format, Snapshot
from exporter.exposition.formats import format_for, wants_gzip
from exporter.exposition.protobuf import collected
from exporter.exposition.publisher import Publisher

_SNAPSHOT_TIMEOUT_S: Final = 60.0

_SNAPSHOT_CHECK_INTERVAL_S: Final = 0.02
"""The first request for a format waits until its snapshot is ready."""

_OWN_METRICS_MAX_AGE_S: Final = 1.0
"""Scrapes that are closer together share one rendering of the exporter's own metrics."""

_GENERATE: Final[dict[Format, Callable[[CollectorRegistry], bytes]]] = {
    Format.TEXT: generate_latest,
    Format.OPENMETRICS: openmetrics.generate_latest,
    Format.PROTOBUF: lambda registry: collected(registry.collect()),
}


@dataclass(frozen=True, slots=True)
class _Body:
    """A response body, shared by scrapes of the same format within a second."""

    snapshot: Snapshot
    expires_at: float
    size: int
    chunks: Callable[[], Iterable[bytes]]


class MetricsEndpoint:
    """An ASGI application that answers every path with the metrics.

    Args:
        publisher: keeps the metrics of jobs and fleet.
        registry: holds the exporter's own metrics and those of the process.
        monotonic: a clock in seconds that never jumps.
    """

    def __init__(
        self,
        publisher: Publisher,
        registry: CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._registry = registry
        self._monotonic = monotonic
        self._bodies: dict[tuple[Format, bool], _Body] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, [(b"allow", b"GET, HEAD")], 0, ())
            return
        format_ = format_for(_header(scope, b"accept"))
        gzip = wants_gzip(_header(scope, b"accept-encoding"))
        snapshot = self._publisher.latest(format_, gzip=gzip)
        deadline = self._monotonic() + _SNAPSHOT_TIMEOUT_S
        while snapshot is None and self._monotonic() < deadline:
            await asyncio.sleep(_SNAPSHOT_CHECK_INTERVAL_S)
            snapshot = self._publisher.latest(format_, gzip=gzip)
        if snapshot is None:
            await _send(send, 503, [(b"retry-after", b"10")], 0, ())
            return
        body = self._body(format_, snapshot, gzip=gzip)
        headers = [
            (b"content-type", format_.content_type.encode()),
            (b"vary", b"Accept, Accept-Encoding"),
            *([(b"content-encoding", b"gzip")] if gzip else []),
        ]
        await _send(send, 200, headers, body.size, () if scope["method"] == "HEAD" else body.chunks())

    def _body(self, format_: Format, snapshot: Snapshot, *, gzip: bool) -> _Body:
        now = self._monotonic()
        self._bodies = {key: kept for key, kept in self._bodies.items() if now < kept.expires_at}
        body = self._bodies.get((format_, gzip))
        if body is None or body.snapshot is not snapshot:
            own_metrics = _GENERATE[format_](self._registry)
            expires_at = now + _OWN_METRICS_MAX_AGE_S
            if gzip:
                whole = b"".join(snapshot.gzip(own_metrics))
                body = _Body(snapshot, expires_at, len(whole), lambda: (whole,))
            else:
                size = snapshot.size + len(own_metrics)
                body = _Body(snapshot, expires_at, size, lambda: snapshot.identity(own_metrics))
            self._bodies[format_, gzip] = body
        return body


def _header(scope: Scope, name: bytes) -> str:
    return b",".join(value for key, value in scope["headers"] if key == name).decode("latin-1")


async def _send(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], size: int, chunks: Iterable[bytes]
) -> None:
    length = (b"content-length", str(size).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
