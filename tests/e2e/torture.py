"""One run of torture: exporter and simulator as processes, and a seed that says what happens to them.

The exporter is killed, ended, frozen and started again; the API goes away and lies; builds go on all the
while. Afterwards what the exporter shows must be the truth, and no counter may ever have fallen. Also a
program: ``python -m tests.e2e.torture --runs 200``.
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

LIES: tuple[dict[str, Any], ...] = (
    {"kind": "lost-records", "probability": 0.04, "detail": "unknown"},
    {"kind": "lost-records", "probability": 0.08, "detail": "known"},
    {"kind": "late-records", "probability": 0.2, "seconds": 0.8},
    {"kind": "unknown-result", "probability": 0.05},
    {"kind": "backwards-clock", "probability": 0.05},
    {"kind": "order", "by": "descending"},
)
"""In force during a whole run: what is told of a build must not change under the exporter's feet."""

TROUBLES: tuple[list[dict[str, Any]], ...] = (
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
"""Each for a while, and then gone."""


@dataclass
class Report:
    """What a run came to.

    Attributes:
        wrong: name and labels → what was shown, what would have been right.
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
        """Nothing counted twice, nothing missed, nothing fell."""
        return not self.wrong and not self.fallen


class Scraper:
    """Reads the exposition all the time, through every death of the exporter."""

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
                self._look(requests.get(f"{self._url}/metrics", timeout=2).text)

    def _look(self, exposition: str) -> None:
        self._report.scrapes += 1
        for key, value in build_counters(exposition).items():
            if value < self._highest.get(key, 0):
                self._report.fallen.append(f"{key}: {self._highest[key]} → {value}")
            self._highest[key] = max(value, self._highest.get(key, 0))


class Victim:
    """The exporter as a process that is started again and again."""

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
        """Start it, if it is not running."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; after a deadly one, wait for the end."""
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            code = self._process.wait(30)
            assert code == (0 if number is signal.SIGTERM else -9) or code == -15, code

    def close(self) -> None:
        """Be done with it."""
        if self._process and self._process.poll() is None:
            self.signal(signal.SIGKILL)


class Service:
    """The simulator as a process, by its control endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.baseline: dict[str, int] = {}
        self._session = requests.Session()

    def post(self, path: str, body: object) -> Any:
        """Ask it to do something."""
        answer = self._session.post(f"{self.url}/_sim/{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def history(self, job_id: str) -> set[int]:
        """The build numbers that period-history shows of late."""
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
        """All jobs as they really are; sums are over the builds above the baseline."""
        since = [("since", f"{job_id}:{number}") for job_id, number in self.baseline.items()]
        answer = self._session.get(f"{self.url}/_sim/truth", params=since, timeout=10)
        return list(answer.json()["jobs"].values())

    def is_quiet(self) -> bool:
        """Whether every build has ended: the truth moves no more."""
        return not any(sum(job["totals"]["active"].values()) for job in self.truth())


@contextlib.contextmanager
def service(folder: Path) -> Iterator[Service]:
    """A simulator that lives for the length of a block."""
    port = free_port()
    command = [sys.executable, "-m", "exporter", "simulate", f"--port={port}", "--jobs=0"]
    with running(command, folder / "simulator.log"):
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{url}/_sim/counts"), 60)
        yield Service(url)


def configure(simulator: Service, job_ids: Sequence[str], folder: Path, state: str) -> Path:
    """A configuration that watches those jobs at a hurry."""
    path = folder / "config.yaml"
    jobs = "".join(f"  - {{id: {job_id}, name: job-{at}, project: p}}\n" for at, job_id in enumerate(job_ids))
    path.write_text(
        f"endpoint: {simulator.url}\nauth: {{token: example-token}}\njobs:\n{jobs}"
        "poll: {interval: 200ms, max_interval: 300ms, max_requests_per_minute: 100000, timeout: 1s}\n"
        f"recycle_bin: {{enabled: false}}\nstate: {{{state}}}\n"
    )
    return path


def torture(seed: int, folder: Path, state: str = "") -> Report:
    """Run a whole schedule; what came of it."""
    dice = random.Random(seed)
    report = Report(seed)
    with service(folder) as simulator:
        jobs = [simulator.post("jobs", {"name": f"job-{at}", "project": "p"})["job_id"] for at in range(JOBS)]
        simulator.post("faults", list(LIES))
        config = configure(simulator, jobs, folder, state or f"path: {folder / 'state.db'}")
        end_with_visible_builds(simulator, jobs)
        simulator.baseline = {job["job_id"]: len(job["builds"]) for job in simulator.truth()}
        victim = Victim(config, folder)
        try:
            victim.start()
            eventually(lambda: answers(f"{victim.url}/-/ready"), 60)
            with Scraper(victim.url, report):
                while report.kills < KILLS or report.terms < 1:
                    live(simulator, jobs, dice, dice.uniform(0.3, 1.2))
                    torment(simulator, victim, jobs, dice, report)
                victim.start()
                settle(simulator, jobs, victim, report)
        finally:
            victim.close()
    return report


def live(simulator: Service, jobs: Sequence[str], dice: random.Random, seconds: float) -> None:
    """Builds come for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(dice.choice((1, 1, 1, 4))):
            build = {
                "result": dice.choice(RESULTS),
                "queue_s": dice.uniform(0, 0.3),
                "duration_s": dice.choice((0.05, 0.3, 0.3, 2.0)) * dice.uniform(0.5, 1.5),
            }
            simulator.post(f"jobs/{dice.choice(jobs)}/builds", build)
        time.sleep(dice.uniform(0.02, 0.2))


def torment(
    simulator: Service, victim: Victim, jobs: Sequence[str], dice: random.Random, report: Report
) -> None:
    """Something bad happens, and sometimes something else at the same time."""
    if dice.random() < 0.5:
        simulator.post("faults", [*LIES, *dice.choice(TROUBLES)])
        report.outages += 1
        live(simulator, jobs, dice, dice.uniform(0.1, 1.5))
    what = dice.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
    victim.start()
    if dice.random() < 0.7:
        with contextlib.suppress(AssertionError):
            eventually(lambda: answers(f"{victim.url}/-/healthy"), 10)
    victim.signal(what)
    live(simulator, jobs, dice, dice.choice((0.0, 0.2, 1.5)))
    if what is signal.SIGSTOP:
        victim.signal(signal.SIGCONT)
        report.freezes += 1
    report.kills += what is signal.SIGKILL
    report.terms += what is signal.SIGTERM
    victim.start()
    if dice.random() < 0.7:
        simulator.post("faults", list(LIES))


def settle(simulator: Service, jobs: Sequence[str], victim: Victim, report: Report) -> None:
    """Let everything end, then hold what is shown against the truth."""
    simulator.post("faults", list(LIES))
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
    """A lost build shows only by a later one that is not, so the last one of each job must be seen."""
    unseen = list(jobs)
    for _ in range(8):
        quick = {"result": "success", "queue_s": 0, "duration_s": 0.1}
        newest = {job_id: simulator.post(f"jobs/{job_id}/builds", quick)["number"] for job_id in unseen}
        time.sleep(1.2)
        unseen = [job_id for job_id in unseen if newest[job_id] not in simulator.history(job_id)]
        if not unseen:
            break
    assert not unseen


def main() -> int:
    """Torture with many seeds, a few at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=6)
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.runs)
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(asked.at_once) as pool:

        def one(seed: int) -> Report:
            folder = Path(root) / str(seed)
            folder.mkdir()
            return torture(seed, folder)

        reports = []
        for report in pool.map(one, seeds):
            reports.append(report)
            print(report if not report.is_clean else f"seed {report.seed}: clean", flush=True)
    names = ("kills", "terms", "freezes", "outages", "builds", "recovered", "lost", "scrapes")
    print(", ".join(f"{sum(getattr(report, name) for report in reports)} {name}" for name in names))
    failed = [report.seed for report in reports if not report.is_clean]
    print(f"{len(reports)} runs, {len(failed)} wrong: {failed}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
