"""``/metrics``: ready bytes, and at their end what must be live."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.types import Receive, Scope, Send

from exporter.exposition import Format, Snapshot
from exporter.exposition.formats import format_for, wants_gzip

_READY_WITHIN_S: Final = 60.0

_LOOK_AGAIN_S: Final = 0.02
"""Whoever is the first to ask for a form waits for it, for so long at most."""

_LIVE_FOR_S: Final = 1.0
"""Scrapes that come closer together share one rendering of what is live."""


class Snapshots(Protocol):
    """Whoever keeps snapshots ready."""

    def latest(self, form: Format, *, gzip: bool) -> Snapshot | None:
        """At once; None if it is not ready yet, but will be soon, since it has been asked for."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is sent to everybody who asks for the same form within a moment."""

    snapshot: Snapshot
    until_s: float
    live: bytes
    gzip: bytes | None

    @property
    def size(self) -> int:
        return self.snapshot.size + len(self.live) if self.gzip is None else len(self.gzip)

    @property
    def chunks(self) -> Iterable[bytes]:
        return self.snapshot.identity(self.live) if self.gzip is None else (self.gzip,)


class MetricsEndpoint:
    """An ASGI application that answers every path with the metrics.

    Args:
        snapshots: hold the metrics of jobs and of the fleet.
        registry: holds what is live: the exporter's own metrics and those of the process.
        monotonic: seconds that never jump.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        registry: CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._snapshots = snapshots
        self._registry = registry
        self._monotonic = monotonic
        self._answers: dict[tuple[Format, bool], _Answer] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await _send(send, 405, [(b"allow", b"GET, HEAD")], 0, ())
            return
        form = format_for(_header(scope, b"accept"))
        gzip = wants_gzip(_header(scope, b"accept-encoding"))
        snapshot = self._snapshots.latest(form, gzip=gzip)
        until = self._monotonic() + _READY_WITHIN_S
        while snapshot is None and self._monotonic() < until:
            await asyncio.sleep(_LOOK_AGAIN_S)
            snapshot = self._snapshots.latest(form, gzip=gzip)
        if snapshot is None:
            await _send(send, 503, [(b"retry-after", b"10")], 0, ())
            return
        answer = self._answer(form, snapshot, gzip=gzip)
        headers = [
            (b"content-type", form.content_type.encode()),
            (b"vary", b"Accept, Accept-Encoding"),
            *([(b"content-encoding", b"gzip")] if gzip else []),
        ]
        await _send(send, 200, headers, answer.size, () if scope["method"] == "HEAD" else answer.chunks)

    def _answer(self, form: Format, snapshot: Snapshot, *, gzip: bool) -> _Answer:
        now = self._monotonic()
        self._answers = {asked: one for asked, one in self._answers.items() if now < one.until_s}
        answer = self._answers.get((form, gzip))
        if answer is None or answer.snapshot is not snapshot:
            generate = openmetrics.generate_latest if form is Format.OPENMETRICS else generate_latest
            live = generate(self._registry)
            body = b"".join(snapshot.gzip(live)) if gzip else None
            answer = _Answer(snapshot, now + _LIVE_FOR_S, live, body)
            self._answers[form, gzip] = answer
        return answer


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
