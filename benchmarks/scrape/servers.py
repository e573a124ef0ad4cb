"""The three servers to compare, each in a separate process that prints its port.

``python -m benchmarks.scrape.servers exporter JOBS BUILDS_A_SECOND DETAIL`` and ``… prometheus-client JOBS``.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from shutil import which
from tempfile import TemporaryDirectory
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server

from benchmarks.store.fleet import BUCKETS, ledgers
from exporter.exposition import Format
from exporter.exposition.publisher import Publisher
from exporter.ledger.fold_observations import apply_details, apply_history
from exporter.metrics import FleetView, JobView, job_families
from exporter.metrics.exporter_metrics import Telemetry
from exporter.model import Build, BuildDetail, ConsoleLinks, Job, Result
from exporter.poller.project_totals import Growth, ProjectTotals
from exporter.store import open_store
from exporter.web import MetricsEndpoint, WebServer, address_of, application, bind
from tests.support.oracle import Oracle

EXPORTER, CLIENT, NGINX = "exporter", "prometheus-client", "nginx"

_NGINX_CONF: Final = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; sendfile on; gzip_static on; keepalive_requests 100000000; default_type text/plain;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
  uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


def fleet(jobs: int) -> FleetView:
    """Return the view of a fleet with some weeks of history."""
    return FleetView(
        tuple(
            JobView(
                Job(job_id, f"service-{index}-build", f"project-{index % 20}", f"{index % 20:032x}"),
                ledger,
                up=True,
                deleted=False,
                checked_ms=ledger.polled_ms + index,
            )
            for index, (job_id, ledger) in enumerate(ledgers(jobs).items())
        )
    )


class Fleet:
    """A poller's view while builds finish: each is folded, committed and published."""

    is_healthy = is_ready = True
    stale_after_s = 1800.0
    links = ConsoleLinks()

    def __init__(self, jobs: int, folder: Path, *, lean: bool) -> None:
        self.view = fleet(jobs)
        self._totals = ProjectTotals(0, BUCKETS, {}, self.now_ms) if lean else None
        self._grow(Growth(job.job.project, None, job.ledger) for job in self.view.jobs if job.ledger)
        self._store = open_store(str(folder / "state.db"), None)
        self._rng = Random(1)

    def now_ms(self) -> int:
        """Return the current time, for the status page."""
        return round(time.time() * 1000)

    def next_poll(self, job_id: str) -> None:
        """Plan no poll, since nothing is polled."""

    def finish_builds(self, builds_a_second: float) -> None:
        """Let builds finish at a constant rate, without end."""
        due = time.monotonic()
        while True:
            due += 1 / builds_a_second
            time.sleep(max(0.0, due - time.monotonic()))
            self._finish_one(self._rng.randrange(len(self.view.jobs)))

    def _finish_one(self, index: int) -> None:
        before = self.view.jobs[index]
        after = with_new_build(before)
        if after.ledger:
            self._store.commit({after.job.id: after.ledger})
            self._grow([Growth(after.job.project, before.ledger, after.ledger)])
        self.view = replace(self.view, jobs=(*self.view.jobs[:index], after, *self.view.jobs[index + 1 :]))

    def _grow(self, growth: Iterable[Growth]) -> None:
        """Add to the totals of projects, which are shown in lean detail."""
        if self._totals:
            for state, ledger in self._totals.grown(growth).items():
                state.ledger = ledger
            projects = sorted({job.job.project for job in self.view.jobs})
            totals = ((project, self._totals.of(project)) for project in projects)
            shown = tuple(JobView(Job(state.id, "", project), state.ledger) for project, state in totals)
            self.view = replace(self.view, totals=shown)


def with_new_build(view: JobView) -> JobView:
    """Return the job after a poll that found one more success."""
    if view.ledger is None:
        return view
    number, now_ms = view.ledger.highest + 1, view.ledger.polled_ms + 60_000
    build = Build(number, Result.SUCCESS, start_ms=now_ms - 50_000, finish_ms=now_ms)
    detail = BuildDetail(number, Result.SUCCESS, queued_ms=now_ms - 55_000, start_ms=now_ms - 50_000)
    ledger = apply_history(view.ledger, [build], at_ms=now_ms).ledger
    ledger = apply_details(ledger, [detail], at_ms=now_ms).ledger
    return replace(view, ledger=ledger, checked_ms=now_ms)


def serve_exporter(jobs: int, builds_a_second: float, *, lean: bool) -> None:
    """Run the exporter's server and publisher, as ``serve`` does."""
    with TemporaryDirectory() as folder:
        exporter = Fleet(jobs, Path(folder), lean=lean)
        telemetry = Telemetry(CollectorRegistry())
        publisher = Publisher(lambda: exporter.view, telemetry, job_families(lean=lean))
        publisher.start()
        if builds_a_second:
            threading.Thread(target=exporter.finish_builds, args=(builds_a_second,), daemon=True).start()
        sockets = bind(["127.0.0.1:0"])
        print(address_of(sockets[0]).rpartition(":")[2], flush=True)
        app = application(MetricsEndpoint(publisher, telemetry.registry), exporter, telemetry.readings)
        WebServer(app).run(sockets=sockets)


def serve_client(jobs: int) -> None:
    """Run prometheus-client's own server with the same families."""
    registry = CollectorRegistry()
    registry.register(Oracle(fleet(jobs), fmt=Format.OPENMETRICS))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    print(server.server_port, flush=True)
    thread.join()


@contextmanager
def server(name: str, jobs: int, builds_a_second: float = 0, detail: str = "full") -> Iterator[int]:
    """Start the exporter or prometheus-client; the value is the port."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scrape.servers",
        name,
        str(jobs),
        str(builds_a_second),
        detail,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline()) if process.stdout else 0
        finally:
            process.kill()


@contextmanager
def nginx(identity: bytes, packed: bytes) -> Iterator[int | None]:
    """Start nginx with static files ``metrics`` and ``metrics.gz``; the value is the port, or None."""
    program = which("nginx") or which("nginx", path="/usr/sbin")
    if program is None:
        print("nginx is not installed; its columns stay empty")
        yield None
        return
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "metrics").write_bytes(identity)
        (folder / "metrics.gz").write_bytes(packed)
        spare = bind(["127.0.0.1:0"])[0]
        port = int(address_of(spare).rpartition(":")[2])
        spare.close()
        (folder / "nginx.conf").write_text(_NGINX_CONF.format(folder=folder, port=port))
        with subprocess.Popen(
            [program, "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(0.5)
            try:
                yield port
            finally:
                process.terminate()


if __name__ == "__main__":
    if sys.argv[1] == EXPORTER:
        serve_exporter(int(sys.argv[2]), float(sys.argv[3]), lean=sys.argv[4] == "lean")
    else:
        serve_client(int(sys.argv[2]))
