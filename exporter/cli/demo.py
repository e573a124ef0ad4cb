"""``demo``: the simulator and an exporter that polls it, in one process."""

import socket
from collections.abc import Sequence
from pathlib import Path

from exporter.app import Exporter
from exporter.cli.safe_output import echo
from exporter.cli.serve import Site, run
from exporter.config import parse
from exporter.errors import ExporterError
from exporter.simulator import RealClock, Simulator, demo_fleet
from exporter.web import address_of, bind

_INTERVAL = "5s"


def demo(site: Site, seed: int, *, any_port: bool) -> None:
    """Serve a simulated fleet until SIGTERM or SIGINT.

    With ``any_port``, a free port is used if an address of ``site`` is in use.

    Raises:
        ExporterError: an address is in use.
    """
    sockets = _bind(site.addresses, any_port=any_port)
    with Simulator(demo_fleet(RealClock(), seed)).start() as simulator:
        exporter = Exporter(parse(_config(simulator), source="demo", environ={}, base_dir=Path()))
        url = f"{site.web_config.current.scheme}://{_reachable(address_of(sockets[0]))}"
        echo(f"Simulated CodeArts Build at {simulator.url} with {exporter.poller.watched} watched jobs.")
        echo(f"Status:   {url}/")
        echo(f"Metrics:  {url}{site.telemetry_path}")
        echo(f"Try:      curl -s {url}{site.telemetry_path} | grep builds_total")
        echo(f"Truth:    {simulator.url}/_sim/truth")
        echo("Press Ctrl-C to stop.")
        exporter.publisher.start()
        run(exporter, sockets, site)


def _bind(addresses: Sequence[str], *, any_port: bool) -> list[socket.socket]:
    try:
        return bind(addresses)
    except ExporterError as error:
        if not any_port:
            raise
        echo(f"{error}; using a free port instead.")
        return bind([":0"])


def _reachable(address: str) -> str:
    """Return an address that a browser on this machine can open."""
    host, _, port = address.rpartition(":")
    return f"localhost:{port}" if host in ("0.0.0.0", "[::]") else address  # noqa: S104 read, not bound


def _config(simulator: Simulator) -> str:
    live = (job for job in simulator.fleet.jobs() if job.deleted_ms is None)
    jobs = "".join(
        f"  - {{id: {job.id}, name: {job.name}, project: {simulator.fleet.projects[job.project_id]}}}\n"
        for job in live
    )
    return (
        f"endpoint: {simulator.url}\n"
        f"auth: {{token: {simulator.credentials.tokens[0]}}}\n"
        f"jobs:\n{jobs}"
        f"poll: {{interval: {_INTERVAL}, max_interval: 10s, max_requests_per_minute: 3000}}\n"
        f"recycle_bin: {{interval: 10s}}\n"
        "metrics: {stages: true}\n"
        'state: {path: ":memory:"}\n'
    )
