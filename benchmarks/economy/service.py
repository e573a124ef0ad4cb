"""The simulator in a separate process, with a clock that the caller advances."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from exporter.simulator import Fleet, ManualClock, Plan, Simulator

TOKEN = "example-token"  # noqa: S105 the simulator's fixed example token
START_MS = 1_741_579_200_000
HISTORY_MS = 1_800_000


class Service:
    """A client of the simulator's control endpoints; its clock moves only with `advance`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.now_ms = START_MS
        self._session = requests.Session()

    def post(self, path: str, body: object) -> Any:
        """Send a command to the simulator."""
        answer = self._session.post(f"{self.url}/_sim/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str) -> Any:
        """Read data from the simulator."""
        return self._session.get(f"{self.url}/_sim/{path}", timeout=60).json()

    def advance(self, seconds: float) -> None:
        """Advance the clock, in whole milliseconds."""
        step_ms = max(1, round(seconds * 1000))
        self.post("advance", {"seconds": step_ms / 1000})
        self.now_ms += step_ms


@contextmanager
def service(jobs: int) -> Iterator[Service]:
    """Start a service whose jobs have built once each."""
    command = [sys.executable, "-m", "benchmarks.economy.service", str(jobs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        try:
            yield Service(process.stdout.readline().strip() if process.stdout else "")
        finally:
            process.terminate()


def serve(jobs: int) -> None:
    """Serve a fleet until standard input ends."""
    clock = ManualClock(START_MS)
    fleet = Fleet(clock, seed=1)
    for index in range(jobs):
        job = fleet.add_job(f"job-{index}", f"project-{index % 10}", plan=Plan(gap_s=None))
        fleet.add_build(job.id, duration_s=60, at_ms=START_MS - HISTORY_MS)
    with Simulator(fleet, caller_clock=clock) as simulator:
        print(simulator.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
