"""``python -m benchmarks.economy.limits``: what is counted and refused if the service limits each operation.

Twenty jobs, one build a second, stages on. The poller is the real one, with threads that wait on a clock
which it shares with the simulator.
"""

import argparse
import heapq
import math
import random
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from benchmarks.economy.measure import CONCURRENCY
from benchmarks.economy.unsettled import Bench, bench_of
from benchmarks.tables import table
from exporter.poller.tasks_and_results import FLEET_TASKS, TaskResult, Work
from exporter.simulator import Fault, fault

SETTINGS: Final = "metrics: {stages: true}\npoll: {interval: 20s}\n"
JOBS: Final = 20
WARM_UP_S: Final = 300
MEASURED_S: Final = 240
COUNTED_AFTER_S: Final = 40
NAP_S: Final = 1.0
STAGES: Final = "full-stages"

V1_CALLS: Final = ("job-list", "project-job-list", "recycling-jobs", "projects")
EACH: Final = {
    **dict.fromkeys(V1_CALLS, 50),
    "record-info": 120,
    "period-history": 120,
    STAGES: 50,
}
SHARED: Final = 50


@dataclass(frozen=True)
class Measured:
    """The outcome of one case.

    Attributes:
        finished: builds that finished within the time measured.
        counted: how many of them were counted 40 s later.
        requests: requests within the time measured, by operation.
        refused: how many of them were answered with "too many requests".
    """

    finished: int
    counted: int
    requests: Counter[str]
    refused: Counter[str]

    def accepted_share(self, operation: str | None, per_minute: int) -> float:
        """Return the share of an allowance that was used, by one operation or all."""
        asked = self.requests - self.refused
        accepted = asked[operation] if operation else asked.total()
        return accepted / (per_minute * MEASURED_S / 60)

    @property
    def refused_share(self) -> float:
        """The share of requests that were refused."""
        return self.refused.total() / self.requests.total()


class Threads:
    """Workers as `PollingThreads` has them, on the simulated clock: one runs at a time, until it waits."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._exporter = bench.exporter
        self._exporter.throttle._wait = self._wait
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._unnotified: list[threading.Event] = []
        self._order = count()
        self._paused = threading.Semaphore(0)
        self._results: list[TaskResult] = []
        self._idle = CONCURRENCY

    def run(self, until: float) -> None:
        """Run due tasks until the given time, as coordinator and workers do."""
        poller = self._exporter.poller
        while (now := self._exporter.now()) < until:
            for work in poller.take(self._idle):
                self._idle -= work.task not in FLEET_TASKS
                threading.Thread(target=self._serve, args=(work,), daemon=True).start()
                self._paused.acquire()
            self._recheck()
            if self._results:
                results, self._results = self._results, []
                self._idle += sum(result.task not in FLEET_TASKS for result in results)
                poller.settle(results)
                continue
            nap_s = max(0.001, min(poller.wait(), NAP_S)) if self._idle else NAP_S
            moment = min(now + nap_s, until)
            if self._sleepers and self._sleepers[0][0] <= moment:
                moment, _, wake = heapq.heappop(self._sleepers)
                self._advance(moment)
                self._let_run(wake)
            else:
                self._advance(moment)

    def stop(self) -> None:
        """Cancel waiting requests."""
        self._exporter.client.close()
        while self._sleepers or self._unnotified:
            if self._sleepers:
                self._let_run(heapq.heappop(self._sleepers)[2])
            self._recheck()

    def _advance(self, moment: float) -> None:
        if (seconds := moment - self._exporter.now()) > 0:
            self._bench.advance(seconds)

    def _recheck(self) -> None:
        """Wake those that wait for a notice, as long as that lets one go on."""
        waiting = -1
        while waiting != len(self._unnotified):
            waiting = len(self._unnotified)
            unnotified, self._unnotified = self._unnotified, []
            for wake in unnotified:
                self._let_run(wake)

    def _let_run(self, wake: threading.Event) -> None:
        wake.set()
        self._paused.acquire()

    def _serve(self, work: Work) -> None:
        result = self._exporter.poller.run(work)
        self._results.append(result)
        self._paused.release()

    def _wait(self, condition: threading.Condition, seconds: float | None) -> None:
        wake = threading.Event()
        if seconds is None:
            self._unnotified.append(wake)
        else:
            moment = math.ceil((self._exporter.now() + seconds) * 1000) / 1000
            heapq.heappush(self._sleepers, (moment, next(self._order), wake))
        condition.release()
        self._paused.release()
        wake.wait()
        condition.acquire()


def limits(*, shared: bool, announced: bool) -> list[Fault]:
    """Return the limits of the service: one for each operation, or one for all."""
    if shared:
        return [fault("rate-limit", per_minute=SHARED, announce=announced)]
    return [
        fault("rate-limit", operation=operation, per_minute=per_minute, announce=announced)
        for operation, per_minute in EACH.items()
    ]


def measure(faults: Sequence[Fault], warm_up_s: float = WARM_UP_S) -> Measured:
    """Let one build a second run under these limits; measure four minutes after a warm-up."""
    with bench_of(JOBS, settings=SETTINGS) as bench:
        threads = Threads(bench)
        threads.run(until=bench.exporter.now() + 5)
        bench.faults.add(*faults)
        begin = bench.exporter.now() + warm_up_s
        end = begin + MEASURED_S
        finishes = _schedule(bench, end + COUNTED_AFTER_S)
        threads.run(until=begin)
        bench.requests()
        threads.run(until=end)
        requests, refused = bench.responses()
        threads.run(until=end + COUNTED_AFTER_S)
        threads.stop()
        views = bench.exporter.poller.view.jobs
        counted = {view.job.id: sum(view.ledger.counts.values()) for view in views if view.ledger}
    earlier = {job_id: sum(at <= begin for at in times) for job_id, times in finishes.items()}
    finished = {job_id: sum(at <= end for at in times) for job_id, times in finishes.items()}
    in_time = {
        job_id: min(max(counted[job_id], earlier[job_id]), finished[job_id]) - earlier[job_id]
        for job_id in finishes
    }
    total = sum(finished.values()) - sum(earlier.values())
    return Measured(total, sum(in_time.values()), requests, refused)


def _schedule(bench: Bench, end: float) -> dict[str, list[float]]:
    """Let a build begin each second, in one job after the other; return when those of each job finish."""
    rng = random.Random(1)
    job_ids = [job.id for job in bench.fleet.jobs()]
    finishes: dict[str, list[float]] = {job_id: [] for job_id in job_ids}
    for second in range(round(end - bench.exporter.now())):
        job_id, at_ms = job_ids[second % JOBS], bench.now_ms + 1000 * second
        build = bench.fleet.add_build(job_id, queue_s=2, duration_s=rng.uniform(5, 15), at_ms=at_ms)
        finishes[job_id].append((build.finish_ms or 0) / 1000)
    return finishes


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures of each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warm-up", type=int, default=WARM_UP_S, help="seconds before those measured")
    warm_up_s = parser.parse_args(arguments).warm_up
    rows = []
    for shared in (False, True):
        for announced in (False, True):
            found = measure(limits(shared=shared, announced=announced), warm_up_s)
            asked = found.requests - found.refused
            rows.append(
                [
                    f"one of {SHARED}" if shared else "each",
                    "yes" if announced else "no",
                    f"{100 * found.counted / found.finished:.1f} %",
                    f"{100 * found.accepted_share(STAGES, EACH[STAGES]):.0f} %",
                    f"{100 * found.accepted_share(None, SHARED):.0f} %" if shared else "",
                    f"{100 * found.refused_share:.2f} %",
                    ", ".join(f"{operation} {n}" for operation, n in sorted(asked.items())),
                ]
            )
            print(rows[-1], flush=True)
    heads = ["limits", "announced", "counted after 40 s", "stages' use", "total use", "refused", "accepted"]
    table(heads, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
