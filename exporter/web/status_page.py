"""The status page over HTTP: rendered on a thread of its own, ready for a strict browser."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from exporter.model import Result
from exporter.redaction import redact
from exporter.web.protocol import is_gone
from exporter.web.status import Asked, Status, status
from exporter.web.status.sparkline import RESULT_WORDS, shape
from exporter.web.turns import Turns

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

_A_YEAR: Final = "public, max-age=31536000, immutable"

_MOST_WAITING: Final = 16
"""Readers that wait for a page; the next one is turned away."""

_LEVEL: Final = 4

_GZIP: Final = 31
"""zlib's number for the largest window in the format of gzip."""


class Fleet(Protocol):
    """What the page shows of the exporter."""

    @property
    def stale_after_s(self) -> float:
        """A job that was last polled longer ago than this is in trouble."""

    @property
    def view(self) -> FleetView:
        """All jobs as they are now."""

    def now_ms(self) -> int:
        """Now, by the clock that polls are dated with."""


@dataclass(frozen=True, slots=True)
class _File:
    plain: bytes
    gzip: bytes
    media_type: str
    path: str


class StatusPage:
    """Answers ``/`` and what belongs to it.

    Args:
        fleet: is shown.
        readings: of the exporter itself.
        telemetry_path: where the metrics are.
    """

    def __init__(self, fleet: Fleet, readings: Callable[[], Readings], telemetry_path: str) -> None:
        self._fleet = fleet
        self._readings = readings
        self._files = {name: _file(name, media_type) for name, media_type in _STATIC.items()}
        self._pages = Environment(
            loader=PackageLoader("exporter.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
            finalize=lambda value: redact(value) if type(value) is str else value,
        )
        self._pages.globals |= {
            "docs_url": DOCS_URL,
            "static": {name: file.path for name, file in self._files.items()},
            # Relative, like all links: a proxy may show the exporter below a path of its own.
            "telemetry_path": f".{telemetry_path}",
            "legend": [(result, RESULT_WORDS[result], shape(result, 0, 18)) for result in Result],
        }
        # One page at a time: readers wait for each other, and scrapes share the interpreter with one of them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status-page")
        self._turns = Turns(_MOST_WAITING, _MOST_WAITING)

    @property
    def routes(self) -> list[Route]:
        """Where it answers."""
        static = [Route(f"/-/{name}", self._serve_file, name=name, methods=["GET"]) for name in self._files]
        return [Route("/", self._answer, methods=["GET"]), *static]

    def html(self, asked: Asked) -> str:
        """The page as text; takes its time."""
        shown: Status = status(
            self._fleet.view,
            self._readings(),
            asked,
            now_ms=self._fleet.now_ms(),
            stale_after_ms=round(self._fleet.stale_after_s * 1000),
        )
        return self._pages.get_template("status.html").render(status=shown)

    async def _answer(self, request: Request) -> Response:
        gzip = _wants_gzip(request)
        loop = asyncio.get_running_loop()
        refusal = await self._turns.take("", lambda: is_gone(request.scope))
        if refusal is not None:
            return PlainTextResponse(f"{refusal.phrase}\n", refusal, {"Retry-After": "5"})
        try:
            body = await loop.run_in_executor(self._thread, self._body, Asked.of(request.query_params), gzip)
        finally:
            self._turns.give_back()
        return _response(body, "text/html", gzip=gzip, kept="no-store")

    def _body(self, asked: Asked, gzip: bool) -> bytes:
        """The page as bytes; a name may hold half a character, which no encoding has."""
        body = self.html(asked).encode("utf-8", "replace")
        return _compressed(body) if gzip else body

    async def _serve_file(self, request: Request) -> Response:
        file, gzip = self._files[request.url.path.removeprefix("/-/")], _wants_gzip(request)
        return _response(file.gzip if gzip else file.plain, file.media_type, gzip=gzip, kept=_A_YEAR)


def _file(name: str, media_type: str) -> _File:
    """A file of the package under a path that changes with its content, so that it can be kept for ever."""
    plain = (files("exporter.web") / "static" / name).read_bytes()
    digest = hashlib.sha256(plain).hexdigest()[:12]
    return _File(plain, _compressed(plain), media_type, f"./-/{name}?{digest}")


def _compressed(body: bytes) -> bytes:
    return zlib_ng.compress(body, _LEVEL, _GZIP)


def _wants_gzip(request: Request) -> bool:
    return wants_gzip(",".join(request.headers.getlist("accept-encoding")))


def _response(body: bytes, media_type: str, *, gzip: bool, kept: str) -> Response:
    headers = {**SECURITY_HEADERS, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if gzip:
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type=media_type)
