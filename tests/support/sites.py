"""The exporter's web server on a thread, with a stub of the exporter."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exporter.metrics import FleetView
from exporter.model import ConsoleLinks
from exporter.poller.tasks_and_results import PlannedPoll
from exporter.web import WebServer, address_of, bind
from tests.ledger.examples import MINUTE_MS, START_MS
from tests.support.programs import eventually

NOW_MS = START_MS + 60 * MINUTE_MS


@dataclass
class Fleet:
    """A stub with the attributes of the exporter that pages use."""

    view: FleetView
    is_healthy: bool = True
    is_ready: bool = True
    stale_after_s: float = 1800.0
    planned: PlannedPoll | None = None
    links: ConsoleLinks = field(default_factory=ConsoleLinks)

    def now_ms(self) -> int:
        return NOW_MS

    def next_poll(self, job_id: str) -> PlannedPoll | None:
        return self.planned


@contextmanager
def listening(server: WebServer) -> Iterator[tuple[str, int]]:
    """Run the server on a free port during a block; the value is host and port."""
    [opened] = bind(["127.0.0.1:0"])
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    thread.start()
    eventually(lambda: server.started, 10)
    host, _, port = address_of(opened).rpartition(":")
    try:
        yield host, int(port)
    finally:
        server.should_exit = True
        thread.join(10)
        opened.close()
    assert not thread.is_alive()
