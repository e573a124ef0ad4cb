"""The exporter's HTTP interface as an ASGI application; no path waits for the API."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.humanize import plural
from exporter.metrics import FleetView
from exporter.metrics.exporter_metrics import Readings
from exporter.web.metrics_endpoint import MetricsEndpoint
from exporter.web.reloads import Reloads
from exporter.web.status_page import ExporterStatus, StatusPage

_JOB_ID: Final = re.compile(rb"(?=([0-9a-z]{32}))")

_Handler = Callable[[Request], Awaitable[Response]]


def _is_cross_site(request: Request) -> bool:
    """Detect requests from web pages of other origins, by the rules of Go's ``CrossOriginProtection``."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _progress(fleet: FleetView) -> str:
    """Say how many of the jobs are known; one that was refused before its first answer is not."""
    if not fleet.jobs:
        return "no jobs known" if fleet.is_complete else "no job list was read yet"
    known = sum(job.ledger is not None for job in fleet.jobs)
    hidden = sum(job.up is False for job in fleet.jobs)
    not_visible = f", {hidden:,} not visible" if hidden else ""
    return f"{known:,} of {plural(len(fleet.jobs), 'job')} known{not_visible}"


def ids_in(text: bytes) -> Iterator[str]:
    """Find all that may be job ids in a text of any format, even if other letters or digits adjoin them."""
    return (match[1].decode() for match in _JOB_ID.finditer(text))


def _lifecycle(handler: _Handler | None) -> _Handler:
    """Refuse requests where the handler is disabled, and those of web pages of other origins."""

    async def answer(request: Request) -> Response:
        if handler is None:
            return PlainTextResponse("disabled: start with --web.enable-lifecycle\n", status_code=403)
        if _is_cross_site(request):
            return PlainTextResponse("forbidden for pages of other sites\n", status_code=403)
        return await handler(request)

    return answer


def _polls_with(hint: Callable[[Iterable[str]], int]) -> _Handler:
    async def answer(request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:  # also after a body that was refused as too long
            return Response(status_code=400)
        jobs = await run_in_threadpool(hint, ids_in(request.url.query.encode() + b"\n" + body))
        remark = "" if jobs else ": neither query nor body contains the ID of a watched job"
        return PlainTextResponse(f"{plural(jobs, 'job')} will be polled{remark}\n", status_code=202)

    return answer


def application(
    metrics: MetricsEndpoint,
    exporter: ExporterStatus,
    readings: Callable[[], Readings],
    telemetry_path: str = "/metrics",
    reloads: Reloads | None = None,
    hint: Callable[[Iterable[str]], int] | None = None,
) -> ASGIApp:
    """Build the ASGI application.

    Args:
        metrics: answers at ``telemetry_path``.
        exporter: provides health, readiness and the fleet.
        readings: provides the exporter's own numbers for the top of the status page.
        telemetry_path: path under which to expose metrics.
        reloads: read the configuration again; None disables ``/-/reload``.
        hint: polls jobs soon, and returns the number of those that are watched; None disables ``/-/poll``.
    """

    async def healthy(_request: Request) -> Response:
        if exporter.is_healthy:
            return PlainTextResponse("healthy\n")
        return PlainTextResponse("unhealthy: a worker thread died; see the log\n", status_code=503)

    async def ready(_request: Request) -> Response:
        is_ready = exporter.is_ready
        words = f"{'ready' if is_ready else 'not ready'}: {_progress(exporter.view)}\n"
        return PlainTextResponse(words, status_code=200 if is_ready else 503)

    pages = Starlette(
        routes=[
            Route("/-/healthy", healthy, methods=["GET"]),
            Route("/-/ready", ready, methods=["GET"]),
            Route("/-/poll", _lifecycle(hint and _polls_with(hint)), methods=["POST"]),
            Route("/-/reload", _lifecycle(reloads.answer if reloads else None), methods=["POST", "PUT"]),
            *StatusPage(exporter, readings, telemetry_path).routes,
        ],
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        is_scrape = scope["type"] == "http" and scope["path"] == telemetry_path
        await (metrics if is_scrape else pages)(scope, receive, send)

    return app
