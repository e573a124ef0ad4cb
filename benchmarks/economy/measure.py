"""One case: a fleet, the share of it that builds, and what the service allows, for some simulated time.

The poller is the real one, driven by a clock that it shares with the simulator, which runs in a process of
its own; so processor time and memory are the exporter's, and the client's half of each request. A build
counts as visible when the next scrape would show it.
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
from exporter.api.client import ApiClient, new_session
from exporter.api.request_queue import Throttle
from exporter.config import parse
from exporter.metrics.exporter_metrics import Telemetry
from exporter.poller import Intervals, Poller, PollPlanner, Rules
from exporter.poller.watchlist import Watchlist
from exporter.store import MemoryStore

TICK_S = 2.0
WARM_UP_S = 300.0
MINUTES_BETWEEN_BUILDS = 2
CONCURRENCY = 8


@dataclass(frozen=True)
class Case:
    """A fleet, the share of it that builds, and what the service allows."""

    jobs: int
    active_percent: int
    allowed: int
    minutes: int


class Exporter:
    """The poller on a service, driven by the service's clock."""

    def __init__(self, told: Service) -> None:
        self.service = told
        job_ids = list(told.get("truth")["jobs"])
        text = f"endpoint: {told.url}\nauth: {{token: {TOKEN}}}\njobs: [{', '.join(job_ids)}]\n"
        config = parse(text, source="benchmark", environ={}, base_dir=Path())
        self.job_ids = job_ids
        self.finishes: dict[str, list[float]] = {}
        self.delays: list[float] = []
        self.lags: list[float] = []
        self._seen: Counter[str] = Counter()
        self.telemetry = Telemetry(CollectorRegistry())
        self.throttle = Throttle(300, clock=self.now, wait=self._wait)
        session = new_session()
        credentials = credentials_for(
            config.auth, iam_endpoint="", session=session, timeout=10, clock=self.now
        )
        client = ApiClient(
            config.endpoint, session, credentials, self.throttle, self.telemetry, timeout=10, wall=self.now
        )
        intervals = Intervals(config.poll.interval, config.poll.max_interval, config.recycle_bin.interval)
        self.poller = Poller(
            PollPlanner(Watchlist(config), intervals, self.now(), random.Random()),
            client,
            MemoryStore(),
            {},
            Rules.of(config),
            telemetry=self.telemetry,
            wall=self.now,
            monotonic=self.now,
        )

    def now(self) -> float:
        """Seconds since the epoch, by the clock that both share."""
        return self.service.now_ms / 1000

    def _wait(self, _condition: threading.Condition, seconds: float | None) -> None:
        self.service.advance(seconds or 0.001)

    def work(self, until: float) -> None:
        """Do what is due, as many tasks at a time as threads would, and note what becomes visible."""
        works = self.poller.take(CONCURRENCY)
        while works:
            self.lags.extend(
                sample.value for one in self.telemetry.poll_lag.collect() for sample in one.samples
            )
            self.poller.settle([self.poller.run(work) for work in works])
            self._look()
            works = self.poller.take(CONCURRENCY) if self.now() < until else []

    def _look(self) -> None:
        """Note when each build is first counted; builds of one job become visible in the order they end."""
        for view in self.poller.view.jobs:
            waiting = self.finishes.get(view.job.id)
            if waiting and view.ledger:
                counted = sum(view.ledger.counts.values())
                for finish in waiting[self._seen[view.job.id] : counted]:
                    self.delays.append(self.now() - finish)
                self._seen[view.job.id] = counted


def measure(case: Case) -> dict[str, Any]:
    """Run one case; what came of it."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with service(case.jobs) as told:
        exporter = Exporter(told)
        for _ in range(3):
            exporter.work(until=math.inf)
            told.advance(TICK_S)
        first_start = _asked(told)
        told.advance(600)
        told.post("faults", [{"kind": "rate-limit", "per_minute": case.allowed, "announce": False}])
        begin = exporter.now() + WARM_UP_S
        end = begin + 60 * case.minutes
        exporter.finishes = _schedule(told, exporter, case, end)
        _run_until(exporter, begin)
        before, cpu = told.get("counts"), time.process_time()
        exporter.delays.clear()
        exporter.lags.clear()
        _run_until(exporter, end)
        cpu = time.process_time() - cpu
        minutes = (exporter.now() - begin) / 60
        after = told.get("counts")
    asked = {operation: sum(codes.values()) for operation, codes in _difference(after, before).items()}
    refused = sum(codes.get("429", 0) for codes in _difference(after, before).values())
    total, builds = sum(asked.values()), len(exporter.delays)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "jobs": case.jobs,
        "active": f"{case.active_percent} %",
        "allowed/min": case.allowed,
        "requests/min": f"{total / minutes:.1f}",
        "throttled": f"{100 * refused / max(1, total):.2f} %",
        "builds": builds,
        "per build": f"{(asked['period-history'] + asked['record-info']) / builds:.2f}" if builds else "",
        "visible p50": _seconds(exporter.delays, 50),
        "visible p99": _seconds(exporter.delays, 99),
        "lag max": f"{max(exporter.lags, default=0):.0f} s",
        "first start": first_start,
        "CPU s/h": f"{cpu * 60 / minutes:.0f}",
        "KB/job": f"{(peak_kb - before_kb) / case.jobs:.1f}",
    }


def _schedule(told: Service, exporter: Exporter, case: Case, end: float) -> dict[str, list[float]]:
    """Let the active jobs build at a steady pace until the end; when their builds finish, in order."""
    dice = random.Random(1)
    finishes: dict[str, list[float]] = {}
    for job_id in dice.sample(exporter.job_ids, case.jobs * case.active_percent // 100):
        at = exporter.now() + dice.uniform(0, 60 * MINUTES_BETWEEN_BUILDS)
        times = []
        while at < end:
            build = {"queue_s": 2, "duration_s": dice.uniform(10, 90), "at_ms": round(at * 1000)}
            times.append(told.post(f"jobs/{job_id}/builds", build)["finish_ms"] / 1000)
            at += 60 * MINUTES_BETWEEN_BUILDS
        finishes[job_id] = sorted(times)
    return finishes


def _run_until(exporter: Exporter, end: float) -> None:
    while exporter.now() < end:
        exporter.work(until=end)
        exporter.service.advance(TICK_S)


def _asked(told: Service) -> int:
    return sum(sum(codes.values()) for codes in told.get("counts").values())


def _difference(
    after: dict[str, dict[str, int]], before: dict[str, dict[str, int]]
) -> dict[str, Counter[str]]:
    return {
        operation: Counter(codes) - Counter(before.get(operation, {})) for operation, codes in after.items()
    }


def _seconds(delays: list[float], percent: int) -> str:
    if not delays:
        return ""
    return f"{statistics.quantiles(delays, n=100, method='inclusive')[percent - 1]:.0f} s"
