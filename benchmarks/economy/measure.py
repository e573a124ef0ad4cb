"""One case: a fleet, the share of active jobs, and the request limit of the service, in simulated time.

The real poller uses the clock of the simulator, which runs in a separate process. So CPU time and memory are
those of the exporter. A build counts as visible when a scrape would show it.
"""

import math
import random
import resource
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks.economy.service import TOKEN, Service, service
from exporter.api.auth import credentials_for
from exporter.api.client import ApiClient
from exporter.api.clock_offset import ClockOffset
from exporter.api.http import new_session
from exporter.api.throttle import Throttle
from exporter.config import parse
from exporter.metrics.exporter_metrics import Telemetry
from exporter.poller import Intervals, Poller, PollPlanner, Rules
from exporter.poller.watchlist import Watchlist
from exporter.store import MemoryStore

TICK_S = 2.0
WARM_UP_S = 300.0
MINUTES_BETWEEN_BUILDS = 2
CONCURRENCY = 8
REFUSED = {"kind": "error", "operation": "job-list", "status": 403, "code": "CB.00031007"}


@dataclass(frozen=True)
class Case:
    """A fleet, its share of active jobs, and the request limit of the service.

    Attributes:
        refuses_all: the list of all jobs, the only one with build numbers, is refused.
    """

    jobs: int
    active_percent: int
    allowed: int
    minutes: int
    refuses_all: bool = False


class Exporter:
    """A poller that uses a service and its clock; the settings are lines of YAML."""

    def __init__(self, service_client: Service, settings: str = "") -> None:
        self.service = service_client
        job_ids = list(service_client.get("truth")["jobs"])
        text = f"endpoint: {service_client.url}\nauth: {{token: {TOKEN}}}\njobs: [{', '.join(job_ids)}]\n"
        config = parse(text + settings, source="benchmark", environ={}, base_dir=Path())
        self.job_ids = job_ids
        self.finishes: dict[str, list[float]] = {}
        self.delays: list[float] = []
        self.lags: list[float] = []
        self._visible: Counter[str] = Counter()
        self.telemetry = Telemetry(CollectorRegistry())
        self.throttle = Throttle(300, clock=self.now, wait=self._wait)
        session = new_session()
        credentials = credentials_for(
            config.auth, iam_endpoint="", session=session, timeout=10, clock=self.now
        )
        self.client = ApiClient(
            config.endpoint,
            session,
            credentials,
            self.throttle,
            self.telemetry,
            timeout=10,
            clock=ClockOffset(self.now, self.now),
        )
        intervals = Intervals(config.poll.interval, config.poll.max_interval, config.recycle_bin.interval)
        self.poller = Poller(
            PollPlanner(Watchlist(config), intervals, self.now(), random.Random()),
            self.client,
            MemoryStore(),
            {},
            Rules.of(config),
            concurrency=CONCURRENCY,
            telemetry=self.telemetry,
            wall=self.now,
            monotonic=self.now,
        )

    def now(self) -> float:
        """Return seconds since the epoch, by the shared clock."""
        return self.service.now_ms / 1000

    def _wait(self, _condition: threading.Condition, seconds: float | None) -> None:
        self.service.advance(seconds or 0.001)

    def work(self, until: float) -> None:
        """Run due tasks, as many at once as there would be threads, and record delays and lags."""
        works = self.poller.take(CONCURRENCY)
        while works:
            self.lags.extend(
                sample.value for metric in self.telemetry.poll_lag.collect() for sample in metric.samples
            )
            self.poller.settle([self.poller.run(work) for work in works])
            self.record_delays()
            works = self.poller.take(CONCURRENCY) if self.now() < until else []

    def record_delays(self) -> None:
        """Record the delays of newly counted builds, which are counted in the order of their finish."""
        for view in self.poller.view.jobs:
            waiting = self.finishes.get(view.job.id)
            if waiting and view.ledger:
                counted = sum(view.ledger.counts.values())
                for finish in waiting[self._visible[view.job.id] : counted]:
                    self.delays.append(self.now() - finish)
                self._visible[view.job.id] = counted


def measure(case: Case) -> dict[str, Any]:
    """Run one case, and return its row of the table."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with service(case.jobs) as service_client:
        exporter = Exporter(service_client)
        faults = [REFUSED] if case.refuses_all else []
        service_client.post("faults", faults)
        for _ in range(3):
            exporter.work(until=math.inf)
            service_client.advance(TICK_S)
        first_start = _requests(service_client)
        service_client.advance(600)
        limit = {"kind": "rate-limit", "per_minute": case.allowed, "announce": False}
        service_client.post("faults", [*faults, limit])
        begin = exporter.now() + WARM_UP_S
        end = begin + 60 * case.minutes
        exporter.finishes = _schedule(service_client, exporter, case, end)
        _run_until(exporter, begin)
        before, cpu = service_client.get("counts"), time.process_time()
        exporter.delays.clear()
        exporter.lags.clear()
        _run_until(exporter, end)
        cpu = time.process_time() - cpu
        minutes = (exporter.now() - begin) / 60
        after = service_client.get("counts")
    sent = {operation: sum(codes.values()) for operation, codes in _difference(after, before).items()}
    refused = sum(codes.get("429", 0) for codes in _difference(after, before).values())
    total, builds = sum(sent.values()), len(exporter.delays)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "jobs": case.jobs,
        "lists": "projects" if case.refuses_all else "all",
        "active": f"{case.active_percent} %",
        "allowed/min": case.allowed,
        "requests/min": f"{total / minutes:.1f}",
        "throttled": f"{100 * refused / max(1, total):.2f} %",
        "builds": builds,
        "per build": f"{(sent['period-history'] + sent['record-info']) / builds:.2f}" if builds else "",
        "visible p50": _seconds(exporter.delays, 50),
        "visible p99": _seconds(exporter.delays, 99),
        "highest lag": f"{max(exporter.lags, default=0):.0f} s",
        "first start": first_start,
        "CPU, s/h": f"{cpu * 60 / minutes:.0f}",
        "KB/job": f"{(peak_kb - before_kb) / case.jobs:.1f}",
    }


def _schedule(service_client: Service, exporter: Exporter, case: Case, end: float) -> dict[str, list[float]]:
    """Schedule builds of the active jobs until the end, and return their finish times by job, in order."""
    rng = random.Random(1)
    finishes: dict[str, list[float]] = {}
    for job_id in rng.sample(exporter.job_ids, case.jobs * case.active_percent // 100):
        queued_s = exporter.now() + rng.uniform(0, 60 * MINUTES_BETWEEN_BUILDS)
        times = []
        while queued_s < end:
            build = {"queue_s": 2, "duration_s": rng.uniform(10, 90), "at_ms": round(queued_s * 1000)}
            times.append(service_client.post(f"jobs/{job_id}/builds", build)["finish_ms"] / 1000)
            queued_s += 60 * MINUTES_BETWEEN_BUILDS
        finishes[job_id] = sorted(times)
    return finishes


def _run_until(exporter: Exporter, end: float) -> None:
    while exporter.now() < end:
        exporter.work(until=end)
        exporter.service.advance(TICK_S)


def _requests(service_client: Service) -> int:
    return sum(sum(codes.values()) for codes in service_client.get("counts").values())


def _difference(
    after: dict[str, dict[str, int]], before: dict[str, dict[str, int]]
) -> dict[str, Counter[str]]:
    return {
        operation: Counter(codes) - Counter(before.get(operation, {})) for operation, codes in after.items()
    }


def _seconds(delays: list[float], percent: int) -> str:
    if len(delays) < 2:
        return ""
    return f"{statistics.quantiles(delays, n=100, method='inclusive')[percent - 1]:.0f} s"
