"""Reloads of the configuration, by SIGHUP or ``POST /-/reload``, one at a time."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from exporter.errors import ExporterError
from exporter.redaction import clean

_MIN_RELOAD_PAUSE_S: Final = 0.2

_log = structlog.get_logger(__name__)


class Reloads:
    """Runs reloads one at a time, on a thread; requests that arrive during a reload share the next one.

    A reload is followed by a pause as long as itself, and of `_MIN_RELOAD_PAUSE_S` at least, so that a loop
    of requests leaves time for other work.

    Args:
        reload: reads the configuration again; raises `ExporterError` if it cannot be used, which is logged.
    """

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload
        self._requests: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="reload", daemon=True).start()

    def request(self) -> Future[None]:
        """Request a reload, which starts after the call; a signal handler may do so too."""
        requested: Future[None] = Future()
        self._requests.put(requested)
        return requested

    async def answer(self, _request: Request) -> Response:
        """Reload the configuration, and say how that ended."""
        try:
            await asyncio.shield(asyncio.wrap_future(self.request()))
        except ExporterError as error:
            reason = clean(str(error), keep="\n")
            return PlainTextResponse(f"not reloaded: {reason}\n", status_code=500)
        return PlainTextResponse("reloaded\n")

    def _run(self) -> None:
        while True:
            requests = [self._requests.get()]
            while not self._requests.empty():
                requests.append(self._requests.get())
            began, failure = time.monotonic(), None
            try:
                self._reload()
            except Exception as error:
                failure = error
                if not isinstance(error, ExporterError):
                    _log.exception("unexpected_error", task="reload")
            for requested in requests:
                if failure:
                    requested.set_exception(failure)
                else:
                    requested.set_result(None)
            time.sleep(max(_MIN_RELOAD_PAUSE_S, time.monotonic() - began))
