"""``serve``: poll in the background, answer in front, end cleanly."""

import gc
import queue
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog

from exporter import startup
from exporter.app import Exporter, Shard
from exporter.config import Config
from exporter.errors import ExporterError
from exporter.web import (
    MAX_CONNECTIONS,
    MIN_RELOAD_PAUSE_S,
    MetricsEndpoint,
    WatchedConfig,
    WebServer,
    address_of,
    application,
    bind,
)

_STOP_WITHIN_S: Final = 3.0
_MOST_DESCRIPTORS: Final = 65_536
_RESERVED_DESCRIPTORS: Final = 32
"""For the store, the log, sockets that listen, and files that are read again."""
_FEWEST_CONNECTIONS: Final = 8

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """Where and how to answer over HTTP.

    Attributes:
        addresses: ``host:port`` each.
        telemetry_path: where the metrics are.
        web_config: TLS, passwords, headers.
        enable_lifecycle: whether ``POST /-/reload`` is there.
    """

    addresses: tuple[str, ...]
    telemetry_path: str
    web_config: WatchedConfig
    enable_lifecycle: bool = False


def serve(load: Callable[[], Config], site: Site, shard: Shard) -> None:
    """Run until SIGTERM or SIGINT; then stop polling, finish the commit in hand, and return.

    Args:
        load: reads the configuration, now and at each reload.
        site: where and how to answer.
        shard: which of the jobs to take.

    Raises:
        ExporterError: it cannot be started.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    startup.note_hangups()
    config = load()
    sockets = bind(site.addresses)
    try:
        with _uncollected():
            exporter = Exporter(config, shard)
            exporter.publisher.start()
        run(exporter, sockets, site, lambda: exporter.reload(load))
    finally:
        for listening in sockets:
            listening.close()


@contextmanager
def _uncollected() -> Iterator[None]:
    """A start makes millions of objects that stay; to look for garbage among them takes longer than that."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _leave(_signal: int, _frame: object) -> None:
    """Before anything is under way there is nothing to finish."""
    raise SystemExit(0)


def run(
    exporter: Exporter, sockets: list[socket.socket], site: Site, reload: Callable[[], None] | None = None
) -> None:
    """Serve on sockets that already listen; SIGHUP reloads, if that is possible."""
    app = application(
        MetricsEndpoint(exporter.publisher, exporter.registry),
        exporter,
        exporter.telemetry.readings,
        site.telemetry_path,
        reload if site.enable_lifecycle else None,
    )
    server = WebServer(app, site.web_config, _connections(exporter.config.poll.concurrency))

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    hangups: queue.SimpleQueue[None] = queue.SimpleQueue()

    def reload_apart(_signal: int, _frame: object) -> None:
        hangups.put(None)  # the one thing that a signal handler may do safely

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    exporter.threads.start()
    if reload:
        threading.Thread(target=_reload_on, args=(hangups, reload), name="reload", daemon=True).start()
        signal.signal(signal.SIGHUP, reload_apart)
        if startup.hangup_came():
            reload_apart(signal.SIGHUP, None)
    site.web_config.start()
    for listening in sockets:
        _log.info(
            "listening",
            address=address_of(listening),
            path=site.telemetry_path,
            scheme=site.web_config.current.scheme,
            jobs=exporter.watched,
        )
    server.run(sockets=sockets)
    site.web_config.stop()
    if not exporter.stop(_STOP_WITHIN_S):
        _log.warning("poller_did_not_stop", seconds=_STOP_WITHIN_S)
    _log.info("stopped")


def _connections(concurrency: int) -> int:
    """Raise the limit of open files; how many clients' connections it allows beside the API and the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    limit = _MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return min(MAX_CONNECTIONS, max(_FEWEST_CONNECTIONS, limit - _RESERVED_DESCRIPTORS - concurrency))


def _reload_on(hangups: "queue.SimpleQueue[None]", reload: Callable[[], None]) -> None:
    """Reload at each signal, with a rest as after a request; signals during a reload share the next.

    The log tells of failures.
    """
    while True:
        hangups.get()
        while not hangups.empty():
            hangups.get()
        began = time.monotonic()
        try:
            with suppress(ExporterError):
                reload()
        except Exception:
            _log.exception("unexpected_error", task="reload")
        time.sleep(max(MIN_RELOAD_PAUSE_S, time.monotonic() - began))
