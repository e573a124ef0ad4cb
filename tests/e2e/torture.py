"""Stress runs with exporter and simulator as processes, and random events from a seed.

The exporter is killed, stopped, frozen, restarted and sent hints, and the API fails, withdraws endpoints or
returns wrong responses, while builds continue. Afterwards the metrics must match the truth, and no counter
may have decreased. To run many seeds: ``python -m tests.e2e.torture --runs 200``.
"""

import argparse
import contextlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.e2e.disturbances import TEMPORARY, Scenario
from tests.e2e.processes import RESULTS, Service, Victim, configure, live, service
from tests.support.exposition import build_counters, samples
from tests.support.programs import answers, eventually
from tests.support.truth import Values, differences, expected

JOBS = 6
KILLS = 5

START_S = 180
"""Time for a start of the exporter, on a busy machine."""


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        wrong: actual and expected value by name and labels.
        fallen: counters that were lower in a later scrape.
        answered: requests that the API answered with 200, by operation.
        error: why the run could not be completed, or that the log has a traceback.
    """

    seed: int
    kills: int = 0
    terms: int = 0
    freezes: int = 0
    outages: int = 0
    bursts: int = 0
    hints: int = 0
    builds: int = 0
    recovered: int = 0
    lost: int = 0
    scrapes: int = 0
    wrong: dict[Any, tuple[float | None, float]] = field(default_factory=dict)
    fallen: list[str] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def is_clean(self) -> bool:
        """True if nothing was counted twice or missed, and no counter decreased."""
        return not self.wrong and not self.fallen and not self.error


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
        with requests.Session() as session:
            session.trust_env = False  # else each request looks for files
            while not self._stop.wait(0.2):
                with contextlib.suppress(requests.RequestException):
                    self._check(session.get(f"{self._url}/metrics", timeout=2).text)

    def _check(self, exposition: str) -> None:
        self._report.scrapes += 1
        for key, value in build_counters(exposition).items():
            if value < self._highest.get(key, 0):
                self._report.fallen.append(f"{key}: {self._highest[key]} → {value}")
            self._highest[key] = max(value, self._highest.get(key, 0))


def torture(seed: int, folder: Path, state: str = "") -> Report:
    """Run one seed, and return its report."""
    rng = random.Random(seed)
    scenario = Scenario.choose(rng)
    report = Report(seed)
    log = folder / "exporter.log"
    try:
        with service(folder) as simulator:
            jobs = [
                simulator.post("jobs", {"name": f"job-{index}", "project": "p"})["job_id"]
                for index in range(JOBS)
            ]
            state = state or f"path: {folder / 'state.db'}"
            config = configure(simulator, jobs, folder, state, scenario.watched, scenario.max_interval)
            with contextlib.closing(Victim(config, folder)) as victim:
                Run(rng, scenario, simulator, victim, jobs, report).run()
    except (AssertionError, requests.RequestException) as error:
        report.error = f"{type(error).__name__}: {error}"
    if log.exists() and any(word in log.read_text() for word in ("Traceback", "unexpected_error")):
        report.error += " the log has a traceback"
    return report


@dataclass(frozen=True)
class Run:
    """One run: its events, all random, and the comparison at the end."""

    rng: random.Random
    scenario: Scenario
    simulator: Service
    victim: Victim
    jobs: Sequence[str]
    report: Report

    def run(self) -> None:
        """Disturb the exporter until it was killed often enough, then compare."""
        report = self.report
        self.only_permanent_faults()
        self.end_with_visible_builds()
        self.simulator.baseline = {job["job_id"]: len(job["builds"]) for job in self.simulator.truth()}
        self.victim.start()
        eventually(lambda: answers(f"{self.victim.url}/-/ready"), START_S)
        with Scraper(self.victim.url, report):
            while report.kills < KILLS or report.terms < 1:
                self.live(self.rng.uniform(0.2, 0.6))
                self.disturb()
            self.victim.start()
            self.settle()
        report.answered = self.simulator.answered()

    def only_permanent_faults(self) -> None:
        """End the temporary faults."""
        self.simulator.post("faults", list(self.scenario.faults))

    def live(self, seconds: float) -> None:
        """Add random builds for some time, and send hints."""

        def hint(job_ids: Sequence[str]) -> None:
            self.report.hints += self.victim.hint(job_ids)

        live(self.simulator, self.jobs, self.rng, seconds, hint)

    def burst(self) -> None:
        """Add so many builds of one job that the exporter has to catch up."""
        job = self.rng.choice(self.jobs)
        for _ in range(self.rng.choice((5, 8, 8, 20, 20, 120))):
            build = {"result": self.rng.choice(RESULTS), "queue_s": 0.01, "duration_s": 0.05}
            self.simulator.post(f"jobs/{job}/builds", build)
        self.report.bursts += 1

    def disturb(self) -> None:
        """Kill, stop or freeze the exporter, sometimes with temporary faults of the API."""
        rng, report, victim = self.rng, self.report, self.victim
        if rng.random() < 0.6:
            self.simulator.post("faults", [*rng.choice(TEMPORARY), *self.scenario.faults])
            report.outages += 1
            self.live(rng.uniform(0.1, 0.8))
        event = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        victim.start()
        if rng.random() < 0.7:
            with contextlib.suppress(AssertionError):
                eventually(lambda: answers(f"{victim.url}/-/healthy"), 10)
        victim.signal(event)
        self.live(rng.choice((0.0, 0.2, 1.0)))
        if rng.random() < 0.4:
            self.burst()
        if event is signal.SIGSTOP:
            victim.signal(signal.SIGCONT)
            report.freezes += 1
        report.kills += event is signal.SIGKILL
        report.terms += event is signal.SIGTERM
        victim.start()
        if rng.random() < 0.7:
            self.only_permanent_faults()

    def settle(self) -> None:
        """Let all builds end, then compare the metrics with the truth."""
        report = self.report
        self.only_permanent_faults()
        self.end_with_visible_builds()

        def agrees() -> bool:
            truth = self.simulator.truth()
            shown = samples(requests.get(f"{self.victim.url}/metrics", timeout=30).text)
            report.builds = sum(sum(job["totals"]["finished"].values()) for job in truth)
            report.lost = sum(job["totals"]["lost"] for job in truth)
            recovered = (
                value for (name, _), value in shown.items() if name.endswith("_recovered_builds_total")
            )
            report.recovered = int(sum(recovered))
            report.wrong = dict(differences(shown, expected(truth)))
            return not report.wrong

        eventually(lambda: answers(f"{self.victim.url}/-/healthy"), START_S)
        with contextlib.suppress(AssertionError):
            eventually(agrees, 90, every=0.5)

    def end_with_visible_builds(self) -> None:
        """Add builds until the last one of each job has a record; only a later build reveals a lost one."""
        simulator, missing = self.simulator, list(self.jobs)
        for _ in range(8):
            quick = {"result": "success", "queue_s": 0, "duration_s": 0.1}
            newest = {job_id: simulator.post(f"jobs/{job_id}/builds", quick)["number"] for job_id in missing}
            time.sleep(1.2)
            missing = [
                job_id for job_id in missing if newest[job_id] not in simulator.recorded_numbers(job_id)
            ]
            if not missing:
                break
        assert not missing


def main() -> int:
    """Run many seeds, several in parallel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--folder", type=Path, help="keep the logs and states of runs that were not clean")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.runs)
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(options.at_once) as pool:

        def run(seed: int) -> Report:
            folder = Path(options.folder or root) / str(seed)
            folder.mkdir(parents=True)
            report = torture(seed, folder)
            if report.is_clean:
                shutil.rmtree(folder)
            return report

        reports = []
        for report in pool.map(run, seeds):
            reports.append(report)
            print(report if not report.is_clean else f"seed {report.seed}: clean", flush=True)
    names = [name for name, value in vars(Report(0)).items() if isinstance(value, int) and name != "seed"]
    print(", ".join(f"{sum(getattr(report, name) for report in reports)} {name}" for name in names))
    answered = sum((Counter(report.answered) for report in reports), Counter())
    print("answered:", ", ".join(f"{count} {operation}" for operation, count in answered.most_common()))
    failed = [report.seed for report in reports if not report.is_clean]
    print(f"{len(reports)} runs, {len(failed)} wrong: {failed}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
