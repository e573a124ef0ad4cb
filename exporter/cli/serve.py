"""``serve``: poll in the background, answer in front, end cleanly."""

import gc
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

from exporter.cli.wiring import Exporter, Shard
from exporter.config import Config
from exporter.poller import PollingThreads
from exporter.web import MetricsEndpoint, WebServer, address_of, application, bind

_STOP_WITHIN_S: Final = 3.0

_log = structlog.get_logger(__name__)


def serve(config: Config, addresses: Sequence[str], telemetry_path: str, shard: Shard) -> None:
    """Run until SIGTERM or SIGINT; then stop polling, finish the commit in hand, and return.

    Raises:
        ExporterError: it cannot be started.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _warn_of_idle_keys(config)
    sockets = bind(addresses)
    try:
        with _uncollected():
            exporter = Exporter(config, shard)
            exporter.publisher.start()
        run(exporter, sockets, telemetry_path)
    finally:
        for listening in sockets:
            listening.close()


def _warn_of_idle_keys(config: Config) -> None:
    """Keys of the contract that later versions will heed."""
    if config.metrics.stages:
        _log.warning("key_has_no_effect_yet", key="metrics.stages")


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


def run(exporter: Exporter, sockets: list[socket.socket], telemetry_path: str) -> None:
    """Serve on sockets that already listen."""
    polling = PollingThreads(exporter.poller, exporter.config.poll.concurrency)
    publisher = exporter.publisher
    server = WebServer(
        application(
            MetricsEndpoint(publisher, exporter.registry),
            exporter.poller,
            telemetry_path,
            lambda: polling.is_healthy and publisher.is_healthy,
        )
    )

    def stop(_signal: int, _frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    polling.start()
    for listening in sockets:
        _log.info(
            "listening", address=address_of(listening), path=telemetry_path, jobs=exporter.poller.watched
        )
    server.run(sockets=sockets)
    if not polling.stop(_STOP_WITHIN_S):
        _log.warning("poller_did_not_stop", seconds=_STOP_WITHIN_S)
    publisher.stop()
    exporter.store.close()
    _log.info("stopped")
