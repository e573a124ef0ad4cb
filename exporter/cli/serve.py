"""``serve``: poll in background threads, serve HTTP in the main thread, stop cleanly."""

import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from exporter import startup
from exporter.app import Exporter, Shard
from exporter.config import Config
from exporter.web import (
    MAX_CONNECTIONS,
    MetricsEndpoint,
    Reloads,
    WatchedConfig,
    WebServer,
    address_of,
    application,
    bind,
)

_STOP_TIMEOUT_S: Final = 3.0
_MAX_DESCRIPTORS: Final = 65_536
_RESERVED_DESCRIPTORS: Final = 32
"""For the store, the log, listening sockets, and files that are reloaded."""
_MIN_CONNECTIONS: Final = 8

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """The settings of the HTTP server.

    Attributes:
        addresses: ``host:port`` each.
        telemetry_path: path of the metrics.
        web_config: TLS, passwords, headers.
        enable_lifecycle: enables ``POST /-/reload`` and ``POST /-/poll``.
    """

    addresses: tuple[str, ...]
    telemetry_path: str
    web_config: WatchedConfig
    enable_lifecycle: bool = False


def serve(load: Callable[[], Config], site: Site, shard: Shard) -> None:
    """Run until SIGTERM or SIGINT; then stop polling, finish the current commit, and return.

    Args:
        load: reads the configuration, now and at each reload.
        site: the settings of the HTTP server.
        shard: the part of the jobs to poll.

    Raises:
        ExporterError: the exporter cannot be started.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    startup.note_hangups()
    config = load()
    sockets = bind(site.addresses)
    try:
        with startup.without_garbage_collection():
            exporter = Exporter(config, shard)
            exporter.publisher.start()
        run(exporter, sockets, site, Reloads(lambda: exporter.reload(load)))
    finally:
        for listening in sockets:
            listening.close()


def _exit(_signal: int, _frame: object) -> None:
    raise SystemExit(0)  # nothing has been started that would have to finish


def run(exporter: Exporter, sockets: list[socket.socket], site: Site, reloads: Reloads | None = None) -> None:
    """Serve on listening sockets; SIGHUP requests one of ``reloads``, if given."""
    app = application(
        MetricsEndpoint(exporter.publisher, exporter.registry),
        exporter,
        exporter.telemetry.readings,
        site.telemetry_path,
        reloads if site.enable_lifecycle else None,
        exporter.hint if site.enable_lifecycle else None,
    )
    server = WebServer(app, site.web_config, _connections(exporter.config.poll.concurrency))

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    exporter.threads.start()
    if reloads:
        signal.signal(signal.SIGHUP, lambda _signal, _frame: reloads.request())
        if startup.hangup_came():
            reloads.request()
    site.web_config.start()
    for listening in sockets:
        _log.info(
            "listening",
            address=address_of(listening),
            path=site.telemetry_path,
            scheme=site.web_config.current.scheme,
            jobs=exporter.poller.watched,
        )
    server.run(sockets=sockets)
    site.web_config.stop()
    if not exporter.stop(_STOP_TIMEOUT_S):
        _log.warning("poller_did_not_stop", seconds=_STOP_TIMEOUT_S)
    _log.info("stopped")


def _connections(concurrency: int) -> int:
    """Raise the limit of open files; return the client connections it allows beside API and store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < target:
        with suppress(OSError, ValueError):  # some systems allow less than the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft = target
    limit = _MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return min(MAX_CONNECTIONS, max(_MIN_CONNECTIONS, limit - _RESERVED_DESCRIPTORS - concurrency))
