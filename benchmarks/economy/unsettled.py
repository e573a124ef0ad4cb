"""``python -m benchmarks.economy.unsettled``: requests for builds that stay unsettled.

The real poller uses a simulator in the same process. Both share a clock that moves in steps of a minute.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.economy.measure import Exporter
from benchmarks.economy.service import START_MS, Service
from benchmarks.tables import table
from exporter.simulator import Fleet, ManualClock, Plan, Simulator, fault

STEP_S: Final = 60.0
THROTTLED: Final = 429
DAY_S: Final = 86_400
BUILD_EVERY: Final = 5
"""Minutes between two builds of a busy job."""


class Bench(Service):
    """A simulated service in this process, with an exporter."""

    def __init__(self, fleet: Fleet, clock: ManualClock, simulator: Simulator, settings: str = "") -> None:
        super().__init__(simulator.url)
        self.fleet = fleet
        self.faults = simulator.faults
        self._clock = clock
        self._simulator = simulator
        self.exporter = Exporter(self, settings)

    def get(self, path: str) -> Any:
        """Return the jobs, which the exporter reads at its start."""
        return {"jobs": [job.id for job in self.fleet.jobs()]}

    def advance(self, seconds: float) -> None:
        """Advance the clock, in whole milliseconds."""
        step_ms = max(1, round(seconds * 1000))
        self._clock.advance(step_ms / 1000)
        self.now_ms += step_ms

    def run(self, seconds: float, *, builds: bool = False) -> None:
        """Advance the clock and poll; with `builds`, the first job builds at regular intervals."""
        job_id = self.fleet.jobs()[0].id
        for minute in range(round(seconds / STEP_S)):
            if builds and minute % BUILD_EVERY == 0:
                self.fleet.add_build(job_id)
            self.exporter.work(until=self.exporter.now() + STEP_S)
            self.advance(STEP_S)

    def requests(self) -> Counter[str]:
        """Return the requests since the last call, by operation."""
        return self.responses()[0]

    def responses(self) -> tuple[Counter[str], Counter[str]]:
        """Return the requests since the last call by operation: all, and those that were throttled."""
        counts: Counter[str] = Counter()
        throttled: Counter[str] = Counter()
        for (operation, status), count in self._simulator.counts.items():
            counts[operation] += count
            if status == THROTTLED:
                throttled[operation] += count
        self._simulator.reset_counts()
        return counts, throttled

    @property
    def counted(self) -> int:
        """The number of counted builds of all jobs."""
        views = self.exporter.poller.view.jobs
        return sum(sum(view.ledger.counts.values()) for view in views if view.ledger)


@contextmanager
def bench_of(
    jobs: int = 1, prepare: Callable[[Fleet], object] = lambda _: None, settings: str = ""
) -> Iterator[Bench]:
    """Start a service whose jobs build only on request, with an exporter."""
    clock = ManualClock(START_MS)
    fleet = Fleet(clock, seed=1)
    for index in range(jobs):
        fleet.add_job(f"job-{index}", plan=Plan(gap_s=None))
    prepare(fleet)
    with Simulator(fleet, caller_clock=clock) as simulator:
        yield Bench(fleet, clock, simulator, settings)


def stuck_in_a_busy_job(stuck: bool) -> Iterator[tuple[str, Counter[str]]]:
    """288 builds a day, optionally with one that stays in the queue."""
    with bench_of() as bench:
        bench.run(600)
        if stuck:
            bench.fleet.add_build(bench.fleet.jobs()[0].id, queue_s=400 * DAY_S)
        for day in range(1, 8):
            bench.requests()
            bench.run(DAY_S, builds=True)
            if day in (1, 2, 7):
                yield f"288 builds a day, {'one' if stuck else 'none'} stuck: day {day}", bench.requests()


def stuck_in_quiet_jobs(stuck: bool) -> Iterator[tuple[str, Counter[str]]]:
    """50 jobs with two builds, two days and one day ago; the older one is optionally still running."""

    def prepare(fleet: Fleet) -> None:
        for job in fleet.jobs():
            duration_s = None if stuck else 60
            fleet.add_build(job.id, duration_s=duration_s, at_ms=START_MS - 2 * DAY_S * 1000)
            fleet.add_build(job.id, at_ms=START_MS - DAY_S * 1000)

    with bench_of(50, prepare) as bench:
        bench.run(600)
        bench.requests()
        bench.run(DAY_S)
        yield f"50 quiet jobs, {'one build of each' if stuck else 'none'} stuck: a day", bench.requests()


def look_back() -> Iterator[tuple[str, Counter[str]]]:
    """110,000 builds in 28 days."""

    def prepare(fleet: Fleet) -> None:
        for ordinal in range(110_000, 0, -1):
            fleet.add_build(fleet.jobs()[0].id, at_ms=START_MS - ordinal * 22_000)

    with bench_of(1, prepare) as bench:
        bench.run(60)
        state = "" if bench.exporter.poller.ledgers else ", and no ledger"
        yield f"110,000 builds in the look-back: the first minute{state}", bench.requests()


def catch_up() -> Iterator[tuple[str, Counter[str]]]:
    """4,000 builds while the exporter was away for ten days."""
    with bench_of() as bench:
        bench.run(600)
        for ordinal in range(4000):
            bench.fleet.add_build(bench.fleet.jobs()[0].id, at_ms=bench.now_ms + ordinal * 200_000)
        bench.advance(10 * DAY_S)
        bench.requests()
        while bench.counted < 4000:
            bench.run(60)
        yield "4,000 missed builds", bench.requests()


def lost(number: bool) -> Iterator[tuple[str, Counter[str]]]:
    """288 builds a day for four days, optionally with one lost build number."""
    with bench_of() as bench:
        bench.run(600)
        bench.run(DAY_S, builds=True)
        if number:
            bench.faults.add(fault("lost-records", detail="unknown", numbers=[289]))
        for day in range(1, 5):
            bench.requests()
            bench.run(DAY_S, builds=True)
            if day in (1, 4):
                yield f"288 builds a day, {'one' if number else 'none'} lost: day {day}", bench.requests()


def gap() -> Iterator[tuple[str, Counter[str]]]:
    """300 build numbers missing in the history, 40 of them unknown to record-info too."""
    with bench_of() as bench:
        bench.fleet.add_build(bench.fleet.jobs()[0].id, at_ms=START_MS - DAY_S * 1000)
        bench.run(600)
        bench.faults.add(
            fault("lost-records", detail="unknown", numbers=range(2, 42)),
            fault("lost-records", detail="known", numbers=range(42, 302)),
        )
        for _ in range(301):
            bench.fleet.add_build(bench.fleet.jobs()[0].id)
        bench.requests()
        bench.run(3 * 3600)
        ledger = next(iter(bench.exporter.poller.ledgers.values()))
        yield (
            f"300 missing, 40 of them unknown: {bench.counted} counted, {ledger.lost_builds} lost",
            bench.requests(),
        )


def main(arguments: Sequence[str] = ()) -> None:
    """Print the requests of each case."""
    cases: dict[str, Callable[[], Iterator[tuple[str, Counter[str]]]]] = {
        "busy": lambda: stuck_in_a_busy_job(False),
        "busy-stuck": lambda: stuck_in_a_busy_job(True),
        "quiet": lambda: stuck_in_quiet_jobs(False),
        "quiet-stuck": lambda: stuck_in_quiet_jobs(True),
        "look-back": look_back,
        "catch-up": catch_up,
        "none-lost": lambda: lost(False),
        "lost": lambda: lost(True),
        "gap": gap,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=cases, default=list(cases), help="cases to run")
    rows = []
    for name in parser.parse_args(arguments).only:
        for title, counts in cases[name]():
            rows.append([title, f"{counts['period-history']:,}", f"{counts['record-info']:,}"])
            print(rows[-1], flush=True)
    table(["case", "history", "record-info"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
