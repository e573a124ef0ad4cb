"""The ASGI application: paths of the contract, nothing that waits for the API."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.errors import ExporterError
from exporter.metrics.exporter_metrics import Readings
from exporter.redaction import clean
from exporter.web.metrics_endpoint import MetricsEndpoint
from exporter.web.status_page import Fleet, StatusPage

REST_S: Final = 0.2
"""From the end of a reload to the next, at least."""


class Shown(Fleet, Protocol):
    """What the pages tell of the exporter."""

    @property
    def is_healthy(self) -> bool:
        """Whether the process does its work; if not, it is better started anew."""

    @property
    def is_ready(self) -> bool:
        """Every job has been polled, or restored from the store, and is shown."""


class Told(Protocol):
    """What the pages tell of the exporter itself."""

    def readings(self) -> Readings:
        """At this moment."""


class _Reloads:
    """Reloads one at a time, on a thread; requests that come during one share the next.

    After a reload it waits for as long as that took, and for `REST_S` at least, so that reloads in a loop
    leave time for other work.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._under_way = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def __call__(self) -> None:
        """Reload; the reload begins after the call.

        Raises:
            ExporterError: as from the reload.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        await asyncio.shield(self._next)

    async def _run(self) -> None:
        async with self._under_way:
            await asyncio.sleep(self._not_before - time.monotonic())
            self._next = None
            began = time.monotonic()
            try:
                await run_in_threadpool(self._reload)
            finally:
                ended = time.monotonic()
                self._not_before = ended + max(REST_S, ended - began)


def _is_cross_site(request: Request) -> bool:
    """Whether a web page of another origin has sent it, by the rules of Go's ``CrossOriginProtection``."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def application(
    metrics: MetricsEndpoint,
    shown: Shown,
    telemetry_path: str = "/metrics",
    reload: Callable[[], None] | None = None,
    *,
    told: Told,
) -> ASGIApp:
    """The exporter's HTTP interface.

    Args:
        metrics: answers at ``telemetry_path``.
        shown: is asked for health, readiness and the fleet.
        telemetry_path: where the metrics are.
        reload: reads the configuration again; None where nobody may ask for that.
        told: is asked for what the head of the status page says.
    """

    async def healthy(_request: Request) -> Response:
        if shown.is_healthy:
            return PlainTextResponse("healthy\n")
        return PlainTextResponse("a thread has ended that must not; the log says why\n", status_code=503)

    async def ready(_request: Request) -> Response:
        if shown.is_ready:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("not every job has been polled yet\n", status_code=503)

    reloads = _Reloads(reload) if reload else None

    async def reloaded(request: Request) -> Response:
        if reloads is None:
            return PlainTextResponse("start it with --web.enable-lifecycle for this\n", status_code=403)
        if _is_cross_site(request):
            return PlainTextResponse("not for web pages of other sites\n", status_code=403)
        try:
            await reloads()
        except ExporterError as error:
            reason = clean(str(error), keep="\n")
            return PlainTextResponse(f"not reloaded: {reason}\n", status_code=500)
        return PlainTextResponse("reloaded\n")

    pages = Starlette(
        routes=[
            Route("/-/healthy", healthy, methods=["GET"]),
            Route("/-/ready", ready, methods=["GET"]),
            Route("/-/reload", reloaded, methods=["POST", "PUT"]),
            *StatusPage(shown, told.readings, telemetry_path).routes,
        ],
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_scrape = scope["type"] == "http" and scope["path"] == telemetry_path
        await (metrics if is_scrape else pages)(scope, receive, send)

    return app
