"""``python -m benchmarks.economy.unsettled``: what builds cost that stay unsettled, in requests.

The poller is the real one, on a simulator in the same process. Both share a clock that moves in minutes.
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
DAY_S: Final = 86_400
BUILD_EVERY: Final = 5
"""Minutes between two builds of a busy job."""


class Stand(Service):
    """A simulated service in this process, and the exporter on it."""

    def __init__(self, fleet: Fleet, clock: ManualClock, simulator: Simulator) -> None:
        super().__init__(simulator.url)
        self.fleet = fleet
        self.faults = simulator.faults
        self._clock = clock
        self._simulator = simulator
        self.exporter = Exporter(self)

    def get(self, path: str) -> Any:
        """What the exporter needs to know: the jobs."""
        return {"jobs": [job.id for job in self.fleet.jobs()]}

    def advance(self, seconds: float) -> None:
        """Move the clock, by whole milliseconds."""
        step_ms = max(1, round(seconds * 1000))
        self._clock.advance(step_ms / 1000)
        self.now_ms += step_ms

    def run(self, seconds: float, *, builds: bool = False) -> None:
        """Let that much time pass; the first job builds all the while, or nothing does."""
        job_id = self.fleet.jobs()[0].id
        for minute in range(round(seconds / STEP_S)):
            if builds and minute % BUILD_EVERY == 0:
                self.fleet.add_build(job_id)
            self.exporter.work(until=self.exporter.now() + STEP_S)
            self.advance(STEP_S)

    def asked(self) -> Counter[str]:
        """The requests since this was asked last, by operation."""
        counts: Counter[str] = Counter()
        for (operation, _), requests in self._simulator.counts.items():
            counts[operation] += requests
        self._simulator.reset_counts()
        return counts

    @property
    def counted(self) -> int:
        """Builds counted, of all jobs."""
        views = self.exporter.poller.view.jobs
        return sum(sum(view.ledger.counts.values()) for view in views if view.ledger)


@contextmanager
def stand(jobs: int = 1, prepare: Callable[[Fleet], object] = lambda _: None) -> Iterator[Stand]:
    """A stand with jobs that run only what they are told to."""
    clock = ManualClock(START_MS)
    fleet = Fleet(clock, seed=1)
    for at in range(jobs):
        fleet.add_job(f"job-{at}", plan=Plan(gap_s=None))
    prepare(fleet)
    with Simulator(fleet, caller_clock=clock) as simulator:
        yield Stand(fleet, clock, simulator)


def stuck_in_a_busy_job(stuck: bool) -> Iterator[tuple[str, Counter[str]]]:
    """288 builds a day, one of them in the queue for ever."""
    with stand() as told:
        told.run(600)
        if stuck:
            told.fleet.add_build(told.fleet.jobs()[0].id, queue_s=400 * DAY_S)
        for day in range(1, 8):
            told.asked()
            told.run(DAY_S, builds=True)
            if day in (1, 2, 7):
                yield f"288 builds a day, {'one' if stuck else 'none'} stuck: day {day}", told.asked()


def stuck_in_quiet_jobs(stuck: bool) -> Iterator[tuple[str, Counter[str]]]:
    """50 jobs that built two days ago and since then once more."""

    def prepare(fleet: Fleet) -> None:
        for job in fleet.jobs():
            duration_s = None if stuck else 60
            fleet.add_build(job.id, duration_s=duration_s, at_ms=START_MS - 2 * DAY_S * 1000)
            fleet.add_build(job.id, at_ms=START_MS - DAY_S * 1000)

    with stand(50, prepare) as told:
        told.run(600)
        told.asked()
        told.run(DAY_S)
        yield f"50 quiet jobs, {'one build of each' if stuck else 'none'} stuck: a day", told.asked()


def look_back() -> Iterator[tuple[str, Counter[str]]]:
    """110,000 builds in 28 days."""

    def prepare(fleet: Fleet) -> None:
        for ordinal in range(110_000, 0, -1):
            fleet.add_build(fleet.jobs()[0].id, at_ms=START_MS - ordinal * 22_000)

    with stand(1, prepare) as told:
        told.run(60)
        state = "" if told.exporter.poller.ledgers else ", and no ledger"
        yield f"110,000 builds in the look-back: the first minute{state}", told.asked()


def catch_up() -> Iterator[tuple[str, Counter[str]]]:
    """4,000 builds while the exporter was away for ten days."""
    with stand() as told:
        told.run(600)
        for ordinal in range(4000):
            told.fleet.add_build(told.fleet.jobs()[0].id, at_ms=told.now_ms + ordinal * 200_000)
        told.advance(10 * DAY_S)
        told.asked()
        while told.counted < 4000:
            told.run(60)
        yield "4,000 missed builds", told.asked()


def lost(number: bool) -> Iterator[tuple[str, Counter[str]]]:
    """A week after a number was lost."""
    with stand() as told:
        told.run(600)
        told.run(DAY_S, builds=True)
        if number:
            told.faults.add(fault("lost-records", detail="unknown", numbers=[289]))
        for day in range(1, 5):
            told.asked()
            told.run(DAY_S, builds=True)
            if day in (1, 4):
                yield f"288 builds a day, {'one' if number else 'none'} lost: day {day}", told.asked()


def gap() -> Iterator[tuple[str, Counter[str]]]:
    """300 numbers that history lacks, and of which record-info denies 40."""
    with stand() as told:
        told.fleet.add_build(told.fleet.jobs()[0].id, at_ms=START_MS - DAY_S * 1000)
        told.run(600)
        told.faults.add(
            fault("lost-records", detail="unknown", numbers=range(2, 42)),
            fault("lost-records", detail="known", numbers=range(42, 302)),
        )
        for _ in range(301):
            told.fleet.add_build(told.fleet.jobs()[0].id)
        told.asked()
        told.run(3 * 3600)
        ledger = next(iter(told.exporter.poller.ledgers.values()))
        yield (
            f"300 missing, 40 of them denied: {told.counted} counted, {ledger.lost_builds} lost",
            told.asked(),
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
    parser.add_argument("--only", nargs="+", choices=cases, default=list(cases), help="these cases")
    rows = []
    for name in parser.parse_args(arguments).only:
        for title, counts in cases[name]():
            rows.append([title, f"{counts['period-history']:,}", f"{counts['record-info']:,}"])
            print(rows[-1], flush=True)
    table(["case", "history", "record-info"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
