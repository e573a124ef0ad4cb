"""The ASGI application: paths of the contract, nothing that waits for the API."""

from collections.abc import Callable
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.errors import ExporterError
from exporter.telemetry import Readings
from exporter.web.metrics import MetricsEndpoint
from exporter.web.page import Fleet, StatusPage


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

    def reloaded(_request: Request) -> Response:
        if reload is None:
            return PlainTextResponse("start it with --web.enable-lifecycle for this\n", status_code=403)
        try:
            reload()
        except ExporterError as error:
            return PlainTextResponse(f"not reloaded: {error}\n", status_code=500)
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
