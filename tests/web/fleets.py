"""Fleets for the status page, and a server that shows them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from prometheus_client import CollectorRegistry

from exporter.exposition.publisher import Publisher
from exporter.ledger.job_ledger import JobLedger, LastBuild, RecentBuild
from exporter.ledger.streaks import Run
from exporter.ledger.unsettled import OpenBuild
from exporter.metrics import FleetView, JobView
from exporter.metrics.exporter_metrics import Readings, Telemetry
from exporter.model import Build, ConsoleLinks, Job, Result, State
from exporter.web import MetricsEndpoint, WebServer, application
from tests.ledger.examples import MINUTE_MS, START_MS, idle
from tests.support.sites import NOW_MS, Fleet, listening

_NO_LINKS = ConsoleLinks()
READINGS: Final = Readings(
    version="1.2.3",
    revision="0123456789abcdef",
    api_up=True,
    api_trouble="",
    api_error="",
    config_ok=True,
    config_loaded_ms=START_MS,
    budget_per_minute={"period-history": 300, "record-info": 300},
    poll_lag_s=0.25,
    snapshot_bytes=6_300_000,
    snapshot_gzip_bytes=235_000,
)

RESULTS: Final = tuple(Result)


def ledger(*results: Result, first: int = 1, minutes: float = 2) -> JobLedger:
    """The ledger of a job whose builds had these results, oldest first, five minutes apart."""
    builds = [
        RecentBuild(
            number,
            result,
            round((minutes + number % 3) * MINUTE_MS),
            NOW_MS - (len(results) - position) * 5 * MINUTE_MS,
        )
        for position, (number, result) in enumerate(enumerate(results, first))
    ]
    runs = [Run.baseline(first - 1)]
    for build in builds:
        both, _ = runs[-1].joined(Run.single(build.number, build.result, build.finish_ms))
        runs[-1] = both
    newest = builds[-1] if builds else None
    last = newest and LastBuild(newest.number, newest.result, newest.finish_ms, newest.duration_ms, 4200)
    return replace(idle(), polled_ms=NOW_MS, runs=tuple(runs), last=last, recent=tuple(builds[-20:]))


def busy(ledger: JobLedger, minutes: float, state: State = State.RUNNING) -> JobLedger:
    """The same ledger with its next build active for some minutes."""
    number = ledger.highest + 1
    start_ms = round(NOW_MS - minutes * MINUTE_MS)
    return replace(ledger, open={number: OpenBuild(Build(number, state=state, start_ms=start_ms), start_ms)})


def view(name: str, ledger: JobLedger | None = None, project: str = "shop", **changes: object) -> JobView:
    """A job without problems that was polled three seconds ago."""
    job = Job(f"id-of-{name}", name, project)
    return replace(
        JobView(job, ledger, up=True, deleted=False, checked_ms=NOW_MS - 3000 if ledger else None),
        **changes,  # type: ignore[arg-type]
    )


def many(jobs: int) -> FleetView:
    """A fleet with some failing and stuck jobs, in projects of a hundred jobs."""
    kinds = [
        ledger(*(RESULTS[(shift * ordinal) % 7 % 6 if ordinal % 4 == 2 else 0] for ordinal in range(20)))
        for shift in range(7)
    ]
    broken = ledger(*[Result.SUCCESS] * 15, *[Result.FAILURE] * 5)
    stuck = busy(kinds[0], 50)
    return FleetView(
        tuple(
            view(
                f"job-{ordinal:05d}",
                broken if ordinal % 50 == 7 else stuck if ordinal % 100 == 9 else kinds[ordinal % 2],
                f"project-{ordinal // 100:03d}",
            )
            for ordinal in range(jobs)
        )
    )


@contextmanager
def serving(
    fleet: FleetView,
    readings: Callable[[], Readings] = lambda: READINGS,
    links: ConsoleLinks = _NO_LINKS,
) -> Iterator[str]:
    """A server that shows a fleet on its status page; its metrics have no jobs. The value is its URL."""
    telemetry, no_jobs = Telemetry(CollectorRegistry()), FleetView()
    publisher = Publisher(lambda: no_jobs, telemetry)
    publisher.start()
    metrics = MetricsEndpoint(publisher, telemetry.registry)
    app = application(metrics, Fleet(fleet, links=links), readings)
    try:
        with listening(WebServer(app)) as (host, port):
            yield f"http://{host}:{port}"
    finally:
        publisher.stop()
