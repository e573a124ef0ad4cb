"""The status pages over HTTP: rendered on a thread of their own, with headers for a strict browser."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from typing import Final, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from zlib_ng import zlib_ng

from exporter.exposition.formats import wants_gzip
from exporter.metrics import FleetView
from exporter.metrics.exporter_metrics import Readings
from exporter.model import ConsoleLinks, Result
from exporter.poller.tasks_and_results import PlannedPoll
from exporter.redaction import redact
from exporter.web.connection import is_disconnected
from exporter.web.fair_queue import FairQueue
from exporter.web.status import ENGLISH, PageContext, PageQuery, Words, job_page, status, words_for
from exporter.web.status.sparkline import RESULT_WORDS, shape

DOCS_URL: Final = "https://github.com/codearts-build-exporter/codearts-build-exporter#readme"

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_STATIC: Final = {"status.css": "text/css", "icon.svg": "image/svg+xml"}

_ONE_YEAR: Final = "public, max-age=31536000, immutable"

_MAX_WAITING: Final = 16
"""Requests that wait for the page; the next one is refused."""

_COMPRESSION_LEVEL: Final = 4

REFRESH_S: Final = 30
"""Seconds after which a browser loads a page again."""

_GZIP_WINDOW: Final = 31
"""zlib's number for the largest window, in gzip format."""


class ExporterStatus(Protocol):
    """The running exporter, as far as its pages show it."""

    @property
    def is_healthy(self) -> bool:
        """The process does its work; otherwise it should be restarted."""

    @property
    def is_ready(self) -> bool:
        """Every job has been polled, or restored from the store, and is published."""

    @property
    def stale_after_s(self) -> float:
        """A job polled longer ago than this is stale."""

    @property
    def links(self) -> ConsoleLinks:
        """Links to the console."""

    @property
    def view(self) -> FleetView:
        """All jobs as they are published."""

    def now_ms(self) -> int:
        """Return the time by the clock that dates polls."""

    def next_poll(self, job_id: str) -> PlannedPoll | None:
        """Return when and why a job is polled next; on any thread."""


class StatusPage:
    """Answers ``/`` and ``/jobs/ID``, and serves the files that these pages use."""

    def __init__(
        self, exporter: ExporterStatus, readings: Callable[[], Readings], telemetry_path: str
    ) -> None:
        self._exporter = exporter
        self._readings = readings
        # Below the root of each page, like all links: a proxy may serve the exporter below a path.
        self._telemetry_path = telemetry_path.removeprefix("/")
        # One page at a time: requests for it wait for each other, and scrapes share the interpreter with one.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status-page")
        self._queue = FairQueue(_MAX_WAITING, _MAX_WAITING)

    @property
    def routes(self) -> list[Route]:
        """The pages and their files."""
        static = [Route(f"/-/{name}", self._serve_file, name=name, methods=["GET"]) for name in _STATIC]
        pages = [Route(path, self._serve_page, methods=["GET"]) for path in ("/", "/jobs/{job_id:path}")]
        return [*pages, *static]

    def html(self, query: PageQuery, words: Words = ENGLISH) -> str:
        """Render the page of the fleet; slow for a large one."""
        return self._render("status.html", status(self._exporter.view, self._context(query, words)))

    def job_html(self, job_id: str, query: PageQuery, words: Words = ENGLISH) -> str | None:
        """Render the page of a job; None if it is not watched."""
        view = next((view for view in self._exporter.view.jobs if view.job.id == job_id), None)
        if view is None:
            return None
        planned = self._exporter.next_poll(job_id)
        return self._render("job.html", job_page(view, planned, self._context(query, words)))

    def _no_such_job(self, query: PageQuery, words: Words) -> str:
        return self._render("job.html", {"context": self._context(query, words).of_job(), "job": None})

    def _context(self, query: PageQuery, words: Words) -> PageContext:
        exporter = self._exporter
        stale_after_ms = round(exporter.stale_after_s * 1000)
        return PageContext(self._readings(), query, exporter.now_ms(), stale_after_ms, exporter.links, words)

    def _render(self, template: str, page: object) -> str:
        return _templates().get_template(template).render(page=page, telemetry_path=self._telemetry_path)

    async def _serve_page(self, request: Request) -> Response:
        refusal = await self._queue.acquire("", lambda: is_disconnected(request.scope))
        if refusal is not None:
            return PlainTextResponse(f"{refusal.phrase}\n", refusal, {"Retry-After": "5"})
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._page, request)
        finally:
            self._queue.release()

    def _page(self, request: Request) -> Response:
        """Render and encode a page; a surrogate in a job's name becomes a question mark."""
        query = PageQuery.parse(request.query_params)
        words = words_for(",".join(request.headers.getlist("accept-language")))
        job_id = request.path_params.get("job_id")
        html = self.html(query, words) if job_id is None else self.job_html(job_id, query, words)
        content = self._no_such_job(query, words) if html is None else html
        response = _response(request, content.encode("utf-8", "replace"), "text/html", "no-store")
        response.status_code = 404 if html is None else 200
        response.headers["Vary"] = "Accept-Encoding, Accept-Language"
        return response

    async def _serve_file(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/-/")
        return _response(request, _static_files()[name], _STATIC[name], _ONE_YEAR)


@cache
def _static_files() -> Mapping[str, bytes]:
    return {name: (files("exporter.web") / "static" / name).read_bytes() for name in _STATIC}


@cache
def _templates() -> Environment:
    """Return the templates, which are compiled once."""
    templates = Environment(
        loader=PackageLoader("exporter.web"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: redact(value) if type(value) is str else value,
    )
    templates.globals |= {
        "docs_url": DOCS_URL,
        "static": {name: _static_url(name, content) for name, content in _static_files().items()},
        "refresh_s": REFRESH_S,
        "legend": [(result, RESULT_WORDS[result], shape(result, 0, 18)) for result in Result],
    }
    return templates


def _static_url(name: str, content: bytes) -> str:
    """Return a URL, below the root, that changes with the content, so that browsers can cache it for ever."""
    return f"-/{name}?{hashlib.sha256(content).hexdigest()[:12]}"


def _response(request: Request, body: bytes, media_type: str, cache_control: str) -> Response:
    headers = {**SECURITY_HEADERS, "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    if wants_gzip(",".join(request.headers.getlist("accept-encoding"))):
        body = zlib_ng.compress(body, _COMPRESSION_LEVEL, _GZIP_WINDOW)
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=media_type)
