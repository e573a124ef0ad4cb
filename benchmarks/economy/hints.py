"""``python -m benchmarks.economy.hints``: how soon a finished build shows with hints, and what they cost.

Jobs of which each builds every five minutes, for one to three minutes, among others that are idle. The clock
is simulated, the sockets are real, and the requests of each round of polls take 0.4 s.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from statistics import quantiles
from typing import Final

from benchmarks.economy.measure import CONCURRENCY, Exporter
from benchmarks.economy.service import Service, service
from benchmarks.tables import table

JOBS: Final = 100
ACTIVE: Final = 10
EVERY_S: Final = 300.0
BUILDS: Final = 25
LEARNED: Final = 10
"""Builds of each job that come before those that are hinted and measured."""
ROUND_S: Final = 0.4

When = Callable[[float, float], float]
CASES: Final[dict[str, tuple[When | None, float]]] = {
    "no hint": (None, 0.0),
    "when it starts": (lambda start, _: start, 0.0),
    "when it starts; 5 % end early": (lambda start, _: start, 0.05),
    "3 s before it ends": (lambda _, end: end - 3, 0.0),
    "when it has ended": (lambda _, end: end, 0.0),
}
"""When hints are sent, given start and end of a build, and the share of builds that end early."""


@dataclass
class Plan:
    """The builds to come: when each starts, ends and is hinted."""

    ends: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    hints: list[tuple[float, str]] = field(default_factory=list)


def plan(sim: Service, job_ids: Sequence[str], begin: float, when: When | None, early: float) -> Plan:
    """Let each of the jobs run builds whose durations scatter by 10 % around one of its own."""
    rng, plan = random.Random(1), Plan()
    for job_id in job_ids:
        usual, offset = rng.uniform(60, 180), rng.uniform(0, EVERY_S)
        for number in range(BUILDS):
            at, duration = begin + offset + number * EVERY_S, rng.gauss(usual, usual / 10)
            if number >= LEARNED and rng.random() < early:
                duration = rng.uniform(0.1, 0.9) * usual
            build = {"queue_s": 2, "duration_s": duration, "at_ms": round(at * 1000)}
            end = sim.post(f"jobs/{job_id}/builds", build)["finish_ms"] / 1000
            plan.ends[job_id].append(end)
            if when and number >= LEARNED:
                heappush(plan.hints, (when(at, end), job_id))
    return plan


def measure(name: str) -> list[str]:
    """Run one case and return its row."""
    when, early = CASES[name]
    with service(JOBS) as sim:
        exporter = Exporter(sim)
        exporter.work(until=exporter.now())
        active = exporter.job_ids[:ACTIVE]
        begin = exporter.now() + 60
        builds = plan(sim, active, begin, when, early)
        exporter.finishes = {job_id: sorted(ends) for job_id, ends in builds.ends.items()}
        measured_from = begin + (LEARNED + 1) * EVERY_S
        run(exporter, builds, measured_from - 60)
        before, skipped = requests(sim), len(exporter.delays)
        run(exporter, builds, begin + (BUILDS + 1) * EVERY_S)
        delays = exporter.delays[skipped:]
        cuts = quantiles(delays, n=100, method="inclusive")
        per_build = (requests(sim) - before) / len(delays)
    return [name, str(len(delays)), f"{cuts[49]:.1f} s", f"{cuts[98]:.1f} s", f"{per_build:.1f}"]


def requests(sim: Service) -> int:
    """History and details so far."""
    counts = sim.get("counts")
    return sum(sum(counts.get(name, {}).values()) for name in ("period-history", "record-info"))


def run(exporter: Exporter, builds: Plan, end: float) -> None:
    """Do what is due until then, and send the hints."""
    while exporter.now() < end:
        hinted = []
        while builds.hints and builds.hints[0][0] <= exporter.now():
            hinted.append(heappop(builds.hints)[1])
        if works := exporter.poller.take(CONCURRENCY, hinted):
            results = [exporter.poller.run(work) for work in works]
            exporter.service.advance(ROUND_S)
            exporter.poller.settle(results)
            exporter.record_delays()
        else:
            next_hint = builds.hints[0][0] if builds.hints else end
            exporter.service.advance(max(0.01, min(exporter.poller.wait(), next_hint - exporter.now(), 10)))


def main() -> None:
    """Measure each case, and print a table."""
    rows = [measure(name) for name in CASES]
    table(["hint", "builds", "visible p50", "visible p99", "requests per build"], rows)


if __name__ == "__main__":
    main()
