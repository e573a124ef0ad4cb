"""Stress runs with exporter and simulator as processes, and random events from a seed.

The exporter is killed, stopped, frozen and restarted, and the API fails or returns wrong responses, while
builds continue. Afterwards the metrics must match the truth, and no counter may have decreased. To run many
seeds: ``python -m tests.e2e.torture --runs 200``.
"""

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from tests.support.exposition import build_counters, samples
from tests.support.programs import answers, eventually, free_port, running
from tests.support.truth import Values, differences, expected

JOBS = 6
KILLS = 5
RESULTS = ("success", "success", "success", "failure", "failure", "aborted", "timeout", "schedule_failure")

PERMANENT_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "lost-records", "probability": 0.04, "detail": "unknown"},
    {"kind": "lost-records", "probability": 0.08, "detail": "known"},
    {"kind": "late-records", "probability": 0.2, "seconds": 0.8},
    {"kind": "unknown-result", "probability": 0.05},
    {"kind": "backwards-clock", "probability": 0.05},
    {"kind": "order", "by": "descending"},
)
"""Active during a whole run, because the responses about a build must be consistent."""

TEMPORARY_FAULTS: tuple[list[dict[str, Any]], ...] = (
    [{"kind": "error"}],
    [{"kind": "error", "status": 200, "shape": "fail"}],
    [{"kind": "html"}, {"kind": "truncated", "probability": 0.5}],
    [{"kind": "reset"}],
    [{"kind": "hang", "seconds": 0.7}],
    [{"kind": "throttle", "retry_after": 1, "probability": 0.3}],
    [{"kind": "truncated", "probability": 0.3}, {"kind": "error", "probability": 0.3}],
    [{"kind": "error", "operation": "record-info", "probability": 0.4}],
    [{"kind": "shifting-pages"}, {"kind": "wrong-total"}, {"kind": "garbage-records"}],
)
"""Temporary faults."""


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        wrong: actual and expected value by name and labels.
        fallen: counters that were lower in a later scrape.
    """

    seed: int
    kills: int = 0
    terms: int = 0
    freezes: int = 0
    outages: int = 0
    builds: int = 0
    recovered: int = 0
    lost: int = 0
    scrapes: int = 0
    wrong: dict[Any, tuple[float | None, float]] = field(default_factory=dict)
    fallen: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """True if nothing was counted twice or missed, and no counter decreased."""
        return not self.wrong and not self.fallen


class Scraper:
    """A thread that scrapes the exporter continuously, across its restarts."""

    def __init__(self, url: str, report: Report) -> None:
        self._url = url
        self._report = report
        self._highest: Values = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            with contextlib.suppress(requests.RequestException):
                self._check(requests.get(f"{self._url}/metrics", timeout=2).text)

    def _check(self, exposition: str) -> None:
        self._report.scrapes += 1
        for key, value in build_counters(exposition).items():
            if value < self._highest.get(key, 0):
                self._report.fallen.append(f"{key}: {self._highest[key]} → {value}")
            self._highest[key] = max(value, self._highest.get(key, 0))


class Victim:
    """The exporter as a process that is restarted repeatedly."""

    def __init__(self, config: Path, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "exporter.log"
        self._command = [
            *(sys.executable, "-m", "exporter"),
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process if it is not running."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; after SIGKILL or SIGTERM, wait for the exit."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            code = self._process.wait(30)
            assert code == (0 if number is signal.SIGTERM else -9) or code == -15, code

    def close(self) -> None:
        """Kill the process if it is running."""
        if self._process and self._process.poll() is None:
            self.signal(signal.SIGKILL)


class Service:
    """A client of the control endpoints of a simulator process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.baseline: dict[str, int] = {}
        self._session = requests.Session()

    def post(self, path: str, body: object) -> Any:
        """Send a command."""
        answer = self._session.post(f"{self.url}/_sim/{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def history(self, job_id: str) -> set[int]:
        """Return the build numbers that period-history has for the last days."""
        today = datetime.now(UTC).date()
        start, end = (str(today + timedelta(days=days)) for days in (-1, 1))
        answer = self._session.get(
            f"{self.url}/v3/jobs/{job_id}/period-history",
            params={"offset": "0", "limit": "100", "start_time": start, "end_time": end},
            headers={"X-Auth-Token": "example-token"},
            timeout=10,
        )
        return {record["build_number"] for record in answer.json()["history_records"]}

    def truth(self) -> list[dict[str, Any]]:
        """Return the truth about all jobs, with sums over the builds above the baseline."""
        since = [("since", f"{job_id}:{number}") for job_id, number in self.baseline.items()]
        answer = self._session.get(f"{self.url}/_sim/truth", params=since, timeout=10)
        return list(answer.json()["jobs"].values())

    def is_quiet(self) -> bool:
        """Return whether every build has ended, so that the truth no longer changes."""
        return not any(sum(job["totals"]["active"].values()) for job in self.truth())


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Run a simulator during a block."""
    port = free_port()
    command = [sys.executable, "-m", "exporter", "simulate", f"--port={port}", "--jobs=0"]
    with running(command, folder / "simulator.log"):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/_sim/counts"), 60)
        yield Service(url)


def configure(simulator: Service, job_ids: Sequence[str], folder: Path, state: str) -> Path:
    """Write a configuration that watches the jobs with short intervals."""
    path = folder / "config.yaml"
    jobs = "".join(
        f"  - {{id: {job_id}, name: job-{index}, project: p}}\n" for index, job_id in enumerate(job_ids)
    )
    path.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: example-token}}\njobs:\n{jobs}"
        "poll: {interval: 200ms, max_interval: 300ms, max_requests_per_minute: 100000, timeout: 1s}\n"
        f"recycle_bin: {{enabled: false}}\nstate: {{{state}}}\n"
    )
    return path


def torture(seed: int, folder: Path, state: str = "") -> Report:
    """Run one seed, and return its report."""
    rng = random.Random(seed)
    report = Report(seed)
    with service(folder) as simulator:
        jobs = [
            simulator.post("jobs", {"name": f"job-{index}", "project": "p"})["job_id"]
            for index in range(JOBS)
        ]
        simulator.post("faults", list(PERMANENT_FAULTS))
        config = configure(simulator, jobs, folder, state or f"path: {folder / 'state.db'}")
        end_with_visible_builds(simulator, jobs)
        simulator.baseline = {job["job_id"]: len(job["builds"]) for job in simulator.truth()}
        victim = Victim(config, folder)
        try:
            victim.start()
            eventually(lambda: answers(f"{victim.url}/-/ready"), 60)
            with Scraper(victim.url, report):
                while report.kills < KILLS or report.terms < 1:
                    live(simulator, jobs, rng, rng.uniform(0.3, 1.2))
                    disturb(simulator, victim, jobs, rng, report)
                victim.start()
                settle(simulator, jobs, victim, report)
        finally:
            victim.close()
    return report


def live(simulator: Service, jobs: Sequence[str], rng: random.Random, seconds: float) -> None:
    """Add random builds for some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(rng.choice((1, 1, 1, 4))):
            build = {
                "result": rng.choice(RESULTS),
                "queue_s": rng.uniform(0, 0.3),
                "duration_s": rng.choice((0.05, 0.3, 0.3, 2.0)) * rng.uniform(0.5, 1.5),
            }
            simulator.post(f"jobs/{rng.choice(jobs)}/builds", build)
        time.sleep(rng.uniform(0.02, 0.2))


def disturb(
    simulator: Service, victim: Victim, jobs: Sequence[str], rng: random.Random, report: Report
) -> None:
    """Kill, stop or freeze the exporter, sometimes with temporary faults of the API."""
    if rng.random() < 0.5:
        simulator.post("faults", [*PERMANENT_FAULTS, *rng.choice(TEMPORARY_FAULTS)])
        report.outages += 1
        live(simulator, jobs, rng, rng.uniform(0.1, 1.5))
    event = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
    victim.start()
    if rng.random() < 0.7:
        with contextlib.suppress(AssertionError):
            eventually(lambda: answers(f"{victim.url}/-/healthy"), 10)
    victim.signal(event)
    live(simulator, jobs, rng, rng.choice((0.0, 0.2, 1.5)))
    if event is signal.SIGSTOP:
        victim.signal(signal.SIGCONT)
        report.freezes += 1
    report.kills += event is signal.SIGKILL
    report.terms += event is signal.SIGTERM
    victim.start()
    if rng.random() < 0.7:
        simulator.post("faults", list(PERMANENT_FAULTS))


def settle(simulator: Service, jobs: Sequence[str], victim: Victim, report: Report) -> None:
    """Let all builds end, then compare the metrics with the truth."""
    simulator.post("faults", list(PERMANENT_FAULTS))
    end_with_visible_builds(simulator, jobs)

    def agrees() -> bool:
        truth = simulator.truth()
        shown = samples(requests.get(f"{victim.url}/metrics", timeout=30).text)
        report.builds = sum(sum(job["totals"]["finished"].values()) for job in truth)
        report.lost = sum(job["totals"]["lost"] for job in truth)
        report.recovered = int(sum(v for (n, _), v in shown.items() if n.endswith("_recovered_builds_total")))
        report.wrong = dict(differences(shown, expected(truth)))
        return not report.wrong

    eventually(lambda: answers(f"{victim.url}/-/healthy"), 60)
    with contextlib.suppress(AssertionError):
        eventually(agrees, 90, every=0.5)


def end_with_visible_builds(simulator: Service, jobs: Sequence[str]) -> None:
    """Add builds until the history has the last one of each job; only a later build reveals a lost one."""
    missing = list(jobs)
    for _ in range(8):
        quick = {"result": "success", "queue_s": 0, "duration_s": 0.1}
        newest = {job_id: simulator.post(f"jobs/{job_id}/builds", quick)["number"] for job_id in missing}
        time.sleep(1.2)
        missing = [job_id for job_id in missing if newest[job_id] not in simulator.history(job_id)]
        if not missing:
            break
    assert not missing


def main() -> int:
    """Run many seeds, several in parallel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=6)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.runs)
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(options.at_once) as pool:

        def run(seed: int) -> Report:
            folder = Path(root) / str(seed)
            folder.mkdir()
            return torture(seed, folder)

        reports = []
        for report in pool.map(run, seeds):
            reports.append(report)
            print(report if not report.is_clean else f"seed {report.seed}: clean", flush=True)
    names = ("kills", "terms", "freezes", "outages", "builds", "recovered", "lost", "scrapes")
    print(", ".join(f"{sum(getattr(report, name) for report in reports)} {name}" for name in names))
    failed = [report.seed for report in reports if not report.is_clean]
    print(f"{len(reports)} runs, {len(failed)} wrong: {failed}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
