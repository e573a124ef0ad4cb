"""The ASGI application: paths of the contract, nothing that waits for the API."""

from collections.abc import Callable
from html import escape
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter import __version__
from exporter.errors import ExporterError
from exporter.web.metrics import MetricsEndpoint

_LANDING = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>CodeArts Build exporter</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>
</head>
<body><main>
<h1>CodeArts Build exporter</h1>
<p>Version {version}, watching {jobs} jobs.</p>
<ul><li><a href="{metrics}">Metrics</a></li><li><a href="/-/healthy">Health</a></li>
<li><a href="/-/ready">Readiness</a></li></ul>
</main></body></html>
"""
_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Shown(Protocol):
    """What the pages tell of the exporter."""

    @property
    def is_healthy(self) -> bool:
        """Whether the process does its work; if not, it is better started anew."""

    @property
    def is_ready(self) -> bool:
        """Every job has been polled, or restored from the store."""

    @property
    def watched(self) -> int:
        """How many jobs are watched."""


def application(
    metrics: MetricsEndpoint,
    shown: Shown,
    telemetry_path: str = "/metrics",
    reload: Callable[[], None] | None = None,
) -> ASGIApp:
    """The exporter's HTTP interface.

    Args:
        metrics: answers at ``telemetry_path``.
        shown: is asked for health, readiness and the landing page.
        telemetry_path: where the metrics are.
        reload: reads the configuration again; None where nobody may ask for that.
    """

    async def landing(_request: Request) -> Response:
        page = _LANDING.format(version=__version__, jobs=shown.watched, metrics=escape(telemetry_path))
        return HTMLResponse(page, headers=_SECURITY_HEADERS)

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
            Route("/", landing, methods=["GET"]),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)],
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_scrape = scope["type"] == "http" and scope["path"] == telemetry_path
        await (metrics if is_scrape else pages)(scope, receive, send)

    return app
